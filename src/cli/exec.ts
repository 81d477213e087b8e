import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { MetabindError, UsageError } from '../errors.ts'
import { openClient } from '../sdk/client.ts'
import { type Environment, environmentOf } from './exec-environment.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import type { Verb } from './verb.ts'

const OPTIONS = {
  ...SOCKET_OPTIONS,
  role: { type: 'string' },
  with: { type: 'string' },
} as const
// For three reads: the token need not outlive this process by much.
const TTL_SECONDS = 60

export const exec: Verb = {
  summary: 'run a command with the environment that SDKs know',
  help: `Usage: metabind exec [--role ROLE] [--with uri|env] [--] COMMAND [ARGUMENTS]

Runs COMMAND in place of this process, so that the SDKs of Alibaba Cloud, or on an instance of EC2
those of AWS, get the role's credentials from the agent. Settings of other credentials are taken out
of its environment.

  --role ROLE          the role (default: the role of the instance)
  --with uri           a credentials URL, which stays good as credentials are renewed (default);
                       needs credentials_uri.enabled = true in the agent's configuration
  --with env           the credentials themselves, for a command that ends before they do
${SOCKET_HELP}`,
  run: async (args) => {
    const { options, command } = split(args)
    const { values } = parseVerb(options, OPTIONS, 0)
    const [name, ...rest] = command
    if (name === undefined) throw new UsageError('COMMAND is missing')
    const file = executableOf(name)
    const socket = socketsOf(values).metadata
    const how = wayOf(values.with ?? 'uri')
    const client = openClient({ socket, ttlSeconds: TTL_SECONDS })
    const added = {
      ...(await environmentOf(client, how, values.role)),
      METABIND_SOCKET: socket,
    }
    if (process.execve === undefined) throw new MetabindError('INTERNAL', 'there is no execve')
    process.execve(file, [name, ...rest], definedOf({ ...process.env, ...added }))
    throw new MetabindError('INTERNAL', 'execve returned')
  },
}

function wayOf(text: string): 'uri' | 'env' {
  if (text === 'uri' || text === 'env') return text
  throw new UsageError(`--with takes uri or env, not '${text}'`)
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

/** As execvp(3) finds it. */
function executableOf(name: string): string {
  const places = name.includes('/') ? [''] : (process.env.PATH ?? '/usr/bin:/bin').split(delimiter)
  const found = places.map((place) => (place === '' ? name : join(place, name))).find(isExecutable)
  if (found === undefined) throw new UsageError(`there is no command '${name}'`)
  return found
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
