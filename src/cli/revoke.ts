import { ADMIN_CALLS } from '../admin-api.ts'
import { callAdmin } from '../admin-client.ts'
import { UsageError } from '../errors.ts'
import { readSmallFile } from './files.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import type { Verb } from './verb.ts'

const TOKEN_FILE_BYTES_MAX = 4096

export const revoke: Verb = {
  summary: 'end one token, or all of them',
  help: `Usage: metabind revoke (--all | FILE | -)

Ends the token in FILE ('-': standard input), or every token that this instance
has made.

  --all                every token, at once
${SOCKET_HELP}`,
  run: async (args) => {
    const options = { ...SOCKET_OPTIONS, all: { type: 'boolean' } } as const
    const { values, positionals } = parseVerb(args, options, 1)
    const [file] = positionals
    if ((file === undefined) === (values.all !== true)) {
      throw new UsageError('give either --all or a FILE with a token')
    }
    const body =
      file === undefined
        ? { all: true as const }
        : { token: (await readSmallFile(file, TOKEN_FILE_BYTES_MAX)).trim() }
    await callAdmin(socketsOf(values), ADMIN_CALLS.revoke, body)
    return 0
  },
}
