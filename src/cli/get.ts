import type { Sockets } from '../agent-socket.ts'
import { makeToken, readMetadata } from '../client.ts'
import { UsageError } from '../errors.ts'
import { wholePath } from '../sdk/whole-path.ts'
import { Secret } from '../secret.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { printBytes } from './output.ts'
import type { Verb } from './verb.ts'

// For one read: the token need not outlive the command by much.
const TTL_SECONDS = '60'
const TOKEN_FILE_BYTES_MAX = 4096

export const get: Verb = {
  summary: 'read metadata',
  help: `Usage: metabind get PATH [--token-file FILE]

Reads metadata of this instance and writes it to standard output, byte by byte.
PATH is absolute (/latest/user-data) or short: user-data, vendor-data and dynamic/... are below /latest/,
all others (instance-id) below /latest/meta-data/.

  --token-file FILE    use the token in FILE ('-': standard input); without it, one is made
${SOCKET_HELP}`,
  run: async (args) => {
    const options = { ...SOCKET_OPTIONS, 'token-file': { type: 'string' } } as const
    const { values, positionals } = parseVerb(args, options, 1)
    const [path] = positionals
    if (path === undefined) throw new UsageError('PATH is missing')
    const sockets = socketsOf(values)
    const token = await tokenFor(sockets, values['token-file'])
    const answer = await readMetadata(sockets, wholePath(path), token)
    printBytes(answer.body)
    return 0
  },
}

async function tokenFor(sockets: Sockets, file: string | undefined): Promise<Secret<string>> {
  if (file === undefined) return makeToken(sockets, TTL_SECONDS)
  const { readSmallFile } = await import('./files.ts')
  const content = (await readSmallFile(file, TOKEN_FILE_BYTES_MAX)).trim()
  // Anything else cannot stand in a header; the agent would only say the same.
  if (!/^[\x21-\x7e]*$/.test(content)) throw new UsageError(`${file} does not hold a token`)
  return new Secret(content)
}
