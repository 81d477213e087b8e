import { ADMIN_CALLS, type Inspection, inspectionAnswer } from '../admin-api.ts'
import { callAdmin, isNotForUs } from '../admin-client.ts'
import type { Sockets } from '../agent-socket.ts'
import type { ErrorCode } from '../errors.ts'
import { oneLine } from '../format/one-line.ts'
import { Secret } from '../secret.ts'
import { askOfSelf } from './ask-of-self.ts'
import { readSmallFile } from './files.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

const EXIT: Readonly<Partial<Record<ErrorCode, number>>> = {
  TOKEN_EXPIRED: 3,
  TOKEN_FOREIGN: 4,
  TOKEN_CALLER: 6,
}
const EXIT_FORGED = 5
const TOKEN_FILE_BYTES_MAX = 4096

export const inspect: Verb = {
  summary: 'say whether a token is good here, and if not, why',
  help: `Usage: metabind inspect [FILE | -] [--json]

Says whether the token in FILE, or on standard input, is good on this instance
for you.

  --json               print the answer as JSON
${SOCKET_HELP}
Exit codes: 0 valid, 3 expired, 4 made on another instance, 5 forged, malformed
or revoked, 6 another caller's.
`,
  run: async (args) => {
    const options = { ...SOCKET_OPTIONS, json: { type: 'boolean' } } as const
    const { values, positionals } = parseVerb(args, options, 1)
    const token = (await readSmallFile(positionals[0] ?? '-', TOKEN_FILE_BYTES_MAX)).trim()
    const found = await ask(socketsOf(values), token)
    if (values.json) printAnswer('inspect', found)
    else print(`${oneLine(inWords(found))}\n`)
    return found.valid ? 0 : (EXIT[found.code] ?? EXIT_FORGED)
  },
}

// What can stand in a header; whatever else is in the file, it is no token.
const SENDABLE = /^[\x21-\x7e]+$/

/** The admin socket is for administrators; the metadata socket says the same of one's own tokens. */
async function ask(sockets: Sockets, token: string): Promise<Inspection> {
  try {
    return await callAdmin(sockets, ADMIN_CALLS.inspect, { token })
  } catch (error) {
    if (!isNotForUs(error)) throw error
    const sent = SENDABLE.test(token) ? token : '-'
    return askOfSelf(sockets, 'inspect', inspectionAnswer, new Secret(sent))
  }
}

function inWords(found: Inspection): string {
  if (!found.valid) {
    const detail = found.detail === undefined ? '' : ` (${found.detail})`
    return `not valid: ${found.code}: ${found.sentence}${detail}`
  }
  const unit = found.boundToUnit ? ' in this unit' : ''
  const bound = found.boundToUid ? `, for uid ${found.uid}${unit} only` : ''
  return `valid: made on this instance${bound}, for ${found.secondsLeft} s more`
}
