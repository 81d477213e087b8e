import { makeToken } from '../client.ts'
import { UsageError } from '../errors.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print } from './output.ts'
import type { Verb } from './verb.ts'

export const token: Verb = {
  summary: 'make a session token',
  help: `Usage: metabind token [--ttl SECONDS] [--out FILE]

Makes a session token of this instance and prints it, or writes it to FILE.

  --ttl SECONDS        its lifetime, 1 to 21600 (default 3600)
  --out FILE           write it there: mode 0600, whole or not at all, no link followed
${SOCKET_HELP}`,
  run: async (args) => {
    const options = { ...SOCKET_OPTIONS, ttl: { type: 'string' }, out: { type: 'string' } } as const
    const { values } = parseVerb(args, options, 0)
    const ttl = values.ttl ?? '3600'
    if (!/^[1-9][0-9]{0,4}$/.test(ttl)) {
      throw new UsageError(`--ttl takes a whole number of seconds from 1 to 21600, not '${ttl}'`)
    }
    const made = await makeToken(socketsOf(values), ttl)
    if (values.out === undefined) print(`${made.reveal()}\n`)
    else (await import('./files.ts')).writeSecretFile(values.out, made.reveal())
    return 0
  },
}
