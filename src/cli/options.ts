import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import type { Sockets } from '../agent-socket.ts'
import { UsageError } from '../errors.ts'

/** The options that every verb that speaks to an agent takes. */
export const SOCKET_OPTIONS = {
  socket: { type: 'string' },
  'admin-socket': { type: 'string' },
} as const satisfies ParseArgsOptionsConfig

/** Their lines in a verb's help. */
export const SOCKET_HELP = `  --socket PATH        the metadata socket (METABIND_SOCKET; /run/metabind/metadata.sock)
  --admin-socket PATH  the admin socket (METABIND_ADMIN_SOCKET; /run/metabind/admin.sock)
  --help               print this text
`

/**
 * Parses a verb's arguments, strictly.
 *
 * @throws UsageError for an unknown option, a missing value or too many words
 */
export function parseVerb<const T extends ParseArgsOptionsConfig>(
  args: readonly string[],
  options: T,
  wordsMax: number,
) {
  try {
    const parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
    if (parsed.positionals.length > wordsMax) {
      throw new Error(`unexpected argument '${parsed.positionals[wordsMax]}'`)
    }
    return parsed
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    // What Node adds about arguments that begin with '-' is longer than the mistake.
    throw new UsageError(message.replace(/\. To specify a positional argument .*$/s, ''))
  }
}

/** Where the sockets are: the option, else the environment, else the installed place. */
export function socketsOf(values: { socket?: string; 'admin-socket'?: string }): Sockets {
  const { METABIND_SOCKET, METABIND_ADMIN_SOCKET } = process.env
  return {
    metadata: values.socket ?? METABIND_SOCKET ?? '/run/metabind/metadata.sock',
    admin: values['admin-socket'] ?? METABIND_ADMIN_SOCKET ?? '/run/metabind/admin.sock',
  }
}
