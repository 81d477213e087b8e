import { ERRORS, type ErrorEntry } from '../../src/error-table.ts'
import type { Answer } from './caller.ts'
import type { TokenTruth } from './ledger.ts'

/**
 * What every answer of an agent in trouble is held against: it is right, or it is an exact refusal of the
 * table of codes, and never says of a good token that it is not, nor gives anything for one that is over.
 */

/** What was asked for, as far as it decides what may come back. */
export interface Asked {
  readonly what: 'token' | 'read' | 'foreign'
  readonly path: string
  /** Of the token that was sent; undefined: none was. */
  readonly token: TokenTruth | undefined
  /** Whether the policy lets this caller read this path, and whether there is such a path. */
  readonly permitted: boolean
  readonly there: boolean
  /** What the source has, or had as long ago as docs/caching.md lets an answer be. */
  readonly values: ReadonlySet<string>
}

/** How an answer is counted: `right`, the code of a refusal, or how the connection was lost. */
export interface Judged {
  readonly as: string
  /** Set if it must not have been. */
  readonly wrong?: string
}

const TOKEN = /^[A-Za-z0-9_-]{86}$/
const REFUSAL = /^([A-Z][A-Z_]+): (.+)\n?$/
// Of the agent's state, not of the caller or its token.
const OF_THE_STATE = /^(AGENT_|SOURCE_|TPM_|LIMIT_|INTERNAL$|DIRECTORY_FAULT$)/

export function judge(asked: Asked, answer: Answer): Judged {
  if (answer.lost !== undefined) return { as: `no answer (${answer.lost})` }
  if (answer.status === 200) return { as: 'right', ...given(asked, answer.body) }
  const [, code = '', sentence = ''] = REFUSAL.exec(answer.body) ?? []
  const wrong = unexact(code, sentence, answer) ?? refused(asked, code)
  return { as: isRightful(asked, code) ? 'right' : code, ...(wrong === undefined ? {} : { wrong }) }
}

/** A 200: only for who may, for what is there, and as the source has it. */
function given(asked: Asked, body: string): { readonly wrong?: string } {
  const { what, path, token, permitted, there, values } = asked
  if (what === 'token') return TOKEN.test(body) ? {} : { wrong: `no token: ${body}` }
  if (what === 'foreign') return { wrong: `the token of another user was accepted on ${path}` }
  if (token === undefined) return { wrong: `${path} was given without a token` }
  if (token === 'over') return { wrong: `a token that is over was accepted on ${path}` }
  if (!permitted) return { wrong: `the policy was passed over on ${path}` }
  if (!there) return { wrong: `${path} was given, which is not there` }
  if (values.has(body)) return {}
  return { wrong: `${path} is not what the source has: ${body.slice(0, 80)}` }
}

/** The bytes of a refusal are those of the table. */
function unexact(code: string, sentence: string, { status, body }: Answer): string | undefined {
  const entry: ErrorEntry | undefined = ERRORS[code as keyof typeof ERRORS]
  if (entry === undefined) return `${status} without a code of the table: ${body.slice(0, 80)}`
  if (entry.status !== status) return `${code} came with ${status}`
  return sentence.startsWith(entry.sentence) ? undefined : `${code} came with "${sentence}"`
}

/** What is refused as it would be in health. */
function isRightful(asked: Asked, code: string): boolean {
  const { what, token, permitted, there } = asked
  if (what === 'token') return false
  if (what === 'foreign') return code === 'TOKEN_CALLER' || (token !== 'good' && isOver(code))
  if (token === undefined) return code === 'TOKEN_MISSING'
  if (token !== 'good' && isOver(code)) return true
  if (token === 'over') return false
  return (!permitted && code === 'POLICY_DENIED') || (!there && code === 'METADATA_ABSENT')
}

function isOver(code: string): boolean {
  return code === 'TOKEN_EXPIRED' || code === 'TOKEN_INVALID'
}

/** A refusal that is not rightful must be one of the agent's own trouble. */
function refused(asked: Asked, code: string): string | undefined {
  if (isRightful(asked, code) || OF_THE_STATE.test(code)) return undefined
  const token = asked.token === undefined ? 'no token' : `a token that is ${asked.token}`
  return `${code} for ${asked.path}, asked with ${token}`
}
