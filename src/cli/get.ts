import { isUtf8 } from 'node:buffer'
import type { Sockets } from '../agent-socket.ts'
import { makeToken, readMetadata } from '../client.ts'
import { MetabindError, UsageError } from '../errors.ts'
import { wholePath } from '../sdk/whole-path.ts'
import { Secret } from '../secret.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { printAnswer, printBytes } from './output.ts'
import type { Verb } from './verb.ts'

// For one read: the token need not outlive the command by much.
const TTL_SECONDS = '60'
const TOKEN_FILE_BYTES_MAX = 4096

export const get: Verb = {
  summary: 'read metadata',
  help: `Usage: metabind get PATH [--token-file FILE] [--json]

Reads metadata of this instance and writes it to standard output, byte by byte.
PATH is absolute (/latest/user-data) or short: user-data, vendor-data and
dynamic/... are below /latest/, all others (instance-id) below
/latest/meta-data/.

  --token-file FILE    use the token in FILE ('-': standard input); without it,
                       one is made
  --json               print path and value as JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const options = {
      ...SOCKET_OPTIONS,
      'token-file': { type: 'string' },
      json: { type: 'boolean' },
    } as const
    const { values, positionals } = parseVerb(args, options, 1)
    const [path] = positionals
    if (path === undefined) throw new UsageError('PATH is missing')
    const sockets = socketsOf(values)
    const token = await tokenFor(sockets, values['token-file'])
    const { body } = await readMetadata(sockets, wholePath(path), token)
    if (values.json) printAnswer('get', { path: wholePath(path), ...asText(body) })
    else printBytes(body)
    return 0
  },
}

/** Text if it is any, else what JSON has for bytes. */
function asText(body: Buffer): { readonly text: string } | { readonly base64: string } {
  return isUtf8(body) ? { text: body.toString('utf8') } : { base64: body.toString('base64') }
}

async function tokenFor(sockets: Sockets, file: string | undefined): Promise<Secret<string>> {
  if (file === undefined) return makeToken(sockets, TTL_SECONDS)
  const { readSmallFile } = await import('./files.ts')
  const content = (await readSmallFile(file, TOKEN_FILE_BYTES_MAX)).trim()
  // Anything else cannot stand in a header; the agent would only say the same.
  if (!/^[\x21-\x7e]*$/.test(content)) {
    throw new MetabindError('FILE_UNUSABLE', `${file} does not hold a token.`)
  }
  return new Secret(content)
}
