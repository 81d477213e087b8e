import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import type { Sockets } from '../agent-socket.ts'
import { UsageError } from '../errors.ts'

/** The options that every verb that speaks to an agent takes. */
export const SOCKET_OPTIONS = {
  socket: { type: 'string' },
  'admin-socket': { type: 'string' },
} as const satisfies ParseArgsOptionsConfig

/** Their lines in a verb's help. */
export const SOCKET_HELP = `  --socket FILE        the metadata socket (METABIND_SOCKET;
                       /run/metabind/metadata.sock)
  --admin-socket FILE  the admin socket (METABIND_ADMIN_SOCKET;
                       /run/metabind/admin.sock)
  -h, --help           print this text
`

/** A word that is none of those that can stand there. Whoever prints it proposes the nearest of them. */
export class UnknownWord extends UsageError {
  readonly word: string
  readonly known: readonly string[]

  constructor(message: string, word: string, known: readonly string[]) {
    super(message)
    this.word = word
    this.known = known
  }
}

/**
 * Parses a verb's arguments, strictly: in front of everything else, and in our own words.
 *
 * @throws UsageError for an unknown option, a missing value or too many words
 */
export function parseVerb<const T extends ParseArgsOptionsConfig>(
  args: readonly string[],
  options: T,
  wordsMax: number,
) {
  const known: ParseArgsOptionsConfig = options
  const loose = { options: known, allowPositionals: true, strict: false, tokens: true } as const
  const { tokens } = parseArgs({ args: [...args], ...loose })
  const given = tokens.filter((token) => token.kind === 'option')
  for (const token of given) requireOption(token, known)
  const words = tokens.filter((token) => token.kind === 'positional').map(({ value }) => value)
  if (words.length > wordsMax) throw new UsageError(`unexpected argument '${words[wordsMax]}'`)
  const plain = given.map(({ name, value }) =>
    value === undefined ? `--${name}` : `--${name}=${value}`,
  )
  return parseArgs({ args: [...plain, '--', ...words], options, allowPositionals: true })
}

interface GivenOption {
  readonly name: string
  readonly rawName: string
  readonly value?: string | undefined
  readonly inlineValue?: boolean | undefined
}

function requireOption(given: GivenOption, options: ParseArgsOptionsConfig): void {
  const { name, rawName, value, inlineValue } = given
  const known = rawName.startsWith('--') && Object.hasOwn(options, name) ? options[name] : undefined
  if (known === undefined) {
    const names = [...Object.keys(options), 'help'].map((one) => `--${one}`)
    throw new UnknownWord(`there is no option '${rawName}'`, rawName, names)
  }
  if (known.type === 'boolean') {
    if (value !== undefined) throw new UsageError(`${rawName} takes no value`)
    return
  }
  if (value === undefined) throw new UsageError(`${rawName} needs a value`)
  // `--socket --json` forgets one; a number below zero is a value, and refused as one.
  if (!inlineValue && /^-[^0-9]/.test(value)) {
    throw new UsageError(`${rawName} needs a value; if it is '${value}', write ${rawName}=${value}`)
  }
}

/**
 * The word after a verb that says what it does.
 *
 * @param words those that there are
 * @throws UsageError
 */
export function actionOf<const Word extends string>(
  verb: string,
  words: readonly Word[],
  given: string | undefined,
): Word {
  const action = words.find((word) => word === given)
  if (action !== undefined) return action
  if (given === undefined) throw new UsageError(`${verb} takes a word: ${words.join(', ')}`)
  const known = words.map((word) => `${verb} ${word}`)
  throw new UnknownWord(`there is no '${verb} ${given}'`, `${verb} ${given}`, known)
}

/** One of a few words that an option takes. @throws UsageError */
export function choiceOf<const Word extends string>(
  option: string,
  words: readonly Word[],
  given: string,
): Word {
  const choice = words.find((word) => word === given)
  if (choice !== undefined) return choice
  const last = words.at(-1)
  const listed = words.length > 1 ? `${words.slice(0, -1).join(', ')} or ${last}` : last
  throw new UnknownWord(`${option} takes ${listed}, not '${given}'`, given, words)
}

/** Where the sockets are: the option, else the environment, else the installed place. */
export function socketsOf(values: { socket?: string; 'admin-socket'?: string }): Sockets {
  const { METABIND_SOCKET, METABIND_ADMIN_SOCKET } = process.env
  return {
    metadata: values.socket ?? METABIND_SOCKET ?? '/run/metabind/metadata.sock',
    admin: values['admin-socket'] ?? METABIND_ADMIN_SOCKET ?? '/run/metabind/admin.sock',
  }
}
