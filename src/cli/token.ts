import { makeToken } from '../client.ts'
import { durationSeconds } from '../format/duration.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

// Of security-enhanced mode; the agent may be configured to give out less.
const TTL_SECONDS_MAX = 21_600

export const token: Verb = {
  summary: 'make a session token',
  help: `Usage: metabind token [--ttl DURATION] [--out FILE] [--json]

Makes a session token of this instance and prints it, or writes it to FILE.

  --ttl DURATION       its lifetime, up to 6h (default 1h): 600, 10m, 2h
  --out FILE           write it there: mode 0600, whole or not at all, no link
                       followed
  --json               print the answer as JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const options = {
      ...SOCKET_OPTIONS,
      ttl: { type: 'string' },
      out: { type: 'string' },
      json: { type: 'boolean' },
    } as const
    const { values } = parseVerb(args, options, 0)
    const ttlSeconds = durationSeconds('--ttl', values.ttl ?? '1h', TTL_SECONDS_MAX)
    const made = await makeToken(socketsOf(values), String(ttlSeconds))
    if (values.out !== undefined) {
      ;(await import('./files.ts')).writeSecretFile(values.out, made.reveal())
    } else if (values.json) printAnswer('token', { token: made.reveal(), ttlSeconds })
    else print(`${made.reveal()}\n`)
    return 0
  },
}
