import { MetabindError } from '../errors.ts'
import type { IdentityClaims } from '../format/identity-token.ts'
import { type EnrolledInstance, subjectOf } from '../registrar-repository/enrolled-instance.ts'

/** How finely tokens tell callers apart: the instance alone, or who on it by the word of its agent. */
export const SUBJECT_KINDS = ['instance', 'uid', 'unit'] as const
type SubjectKind = (typeof SUBJECT_KINDS)[number]

/** Whom tokens name, in both of their spellings: each the same for the same, and never the same for two. */
export interface TokenSubject {
  /** `aliyun:i-bp1…`, and behind it `:uid:1000` or `:unit:app.service`. */
  readonly name: string
  /** The same as segments of the path of a SPIFFE ID: `/aliyun/i-bp1…/unit/app.service`. */
  readonly path: string
}

/** OpenID Connect Core 1.0, 2. */
const NAME_CHARACTERS_MAX = 255

/**
 * @param said the claims of the identity token
 * @throws MetabindError REGISTRAR_SUBJECT if the identity token does not say what the audience is told
 */
export function tokenSubject(
  kind: SubjectKind,
  instance: Pick<EnrolledInstance, 'dialect' | 'instanceId'>,
  said: Pick<IdentityClaims, 'uid' | 'unit'>,
): TokenSubject {
  const who = kind === 'instance' ? [] : [kind, toldBy(said, kind)]
  const { dialect, instanceId } = instance
  const name = [subjectOf(instance), ...who].join(':')
  if (name.length > NAME_CHARACTERS_MAX) throw new MetabindError('REGISTRAR_SUBJECT', 'too long.')
  const segments = [dialect, instanceId, ...who.map(pathSegment)]
  // SPIFFE-ID 2.2: no relative segments.
  if (segments.some((one) => /^\.{1,2}$/.test(one))) throw new MetabindError('REGISTRAR_SUBJECT')
  return { name, path: segments.map((one) => `/${one}`).join('') }
}

function toldBy(said: Pick<IdentityClaims, 'uid' | 'unit'>, kind: 'uid' | 'unit'): string {
  const value = said[kind]
  if (value === undefined) throw new MetabindError('REGISTRAR_SUBJECT', `no ${kind}.`)
  return String(value)
}

/** Units have characters that the path of a SPIFFE ID has not: `_` and two hexadecimal digits, as is `_` itself. */
function pathSegment(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9.-]/g, (one) => `_${one.charCodeAt(0).toString(16)}`)
}
