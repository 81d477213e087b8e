import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { MetabindError, UsageError } from '../errors.ts'
import { openClient } from '../sdk/client.ts'
import { type Environment, environmentOf } from './exec-environment.ts'
import { choiceOf, parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { complain, printBytes } from './output.ts'
import type { Verb } from './verb.ts'

const OPTIONS = {
  ...SOCKET_OPTIONS,
  role: { type: 'string' },
  with: { type: 'string' },
} as const
// For three reads: the token need not outlive this process by much.
const TTL_SECONDS = 60
// POSIX, XCU 2.8.2.
const EXIT_NOT_EXECUTABLE = 126
const EXIT_NOT_FOUND = 127

export const exec: Verb = {
  summary: 'run a command with the environment that SDKs know',
  help: `Usage: metabind exec [--role ROLE] [--with uri|env] [--] COMMAND [ARGUMENTS]

Runs COMMAND in place of this process, so that the SDKs of Alibaba Cloud, or on
an instance of EC2 those of AWS, get the role's credentials from the agent.
Settings of other credentials are taken out of its environment.

  --role ROLE          the role (default: the role of the instance)
  --with uri|env       uri: a credentials URL, which stays good as credentials
                       are renewed (default), and is added to no_proxy; needs
                       credentials_uri.enabled = true in the agent's
                       configuration. env: the credentials themselves, for a
                       command that ends before they do
${SOCKET_HELP}
Exit codes: those of COMMAND; 126 where it cannot be executed, 127 where it is
not there.
`,
  run: async (args) => {
    // How the wrapper of the packages asks; see there.
    const asScript = args[0] === '--script'
    const { options, command } = split(asScript ? args.slice(1) : args)
    const { values } = parseVerb(options, OPTIONS, 0)
    const [name] = command
    if (name === undefined) throw new UsageError('COMMAND is missing')
    const how = choiceOf('--with', ['uri', 'env'], values.with ?? 'uri')
    const file = executableOf(name)
    if (typeof file === 'number') return file
    const socket = socketsOf(values).metadata
    const client = openClient({ socket, ttlSeconds: TTL_SECONDS })
    const environment = {
      ...(await environmentOf(client, how, process.env, values.role)),
      METABIND_SOCKET: socket,
    }
    if (!asScript) return become(file, command, environment)
    const words = args.length - 1 - command.length
    printBytes(Buffer.from(scriptOf(environment, words)))
    return 0
  },
}

/** For a shell that has the arguments of this verb as its own. */
function scriptOf(environment: Environment, wordsBeforeCommand: number): string {
  const lines = Object.entries(environment).map(([name, value]) =>
    value === undefined ? `unset ${name}` : `export ${name}='${value.replaceAll("'", "'\\''")}'`,
  )
  return `${[...lines, `shift ${wordsBeforeCommand}`, 'exec "$@"'].join('\n')}\n`
}

/** Without the wrapper. The command has the signals and limits of Node, then. */
function become(file: string, command: readonly string[], environment: Environment): never {
  if (process.execve === undefined) throw new MetabindError('INTERNAL', 'there is no execve')
  process.execve(file, [...command], definedOf({ ...process.env, ...environment }))
  throw new MetabindError('INTERNAL', 'execve returned')
}

/** The options of this verb, and the command, which may have options of its own. */
function split(args: readonly string[]): { options: string[]; command: string[] } {
  const options: string[] = []
  const rest = [...args]
  while (rest[0]?.startsWith('-') && rest[0] !== '--') {
    const option = rest.shift() ?? ''
    options.push(option)
    // Every option here takes a value, in the next word or after an equals sign.
    if (!option.includes('=') && rest.length > 0) options.push(rest.shift() ?? '')
  }
  return { options, command: rest[0] === '--' ? rest.slice(1) : rest }
}

function definedOf(environment: Environment): Record<string, string> {
  const entries = Object.entries(environment)
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}

/** As execvp(3) finds it; if it does not, the exit code that a shell has for that, which is said. */
function executableOf(name: string): string | number {
  const isPath = name.includes('/')
  const places = isPath ? [''] : (process.env.PATH ?? '/usr/bin:/bin').split(delimiter)
  const paths = places.map((place) => (place === '' ? name : join(place, name)))
  const found = paths.find(isExecutable)
  if (found !== undefined) return found
  const isThere = paths.some((path) => (isPath ? existsSync(path) : isFile(path)))
  complain(
    isThere
      ? `'${name}' cannot be executed${isFolder(paths) ? ': it is a directory' : ''}`
      : `there is no command '${name}'`,
  )
  return isThere ? EXIT_NOT_EXECUTABLE : EXIT_NOT_FOUND
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
}

function isFolder(paths: readonly string[]): boolean {
  return paths.some((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
