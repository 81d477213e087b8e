import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { MetabindError, UsageError } from '../errors.ts'
import { openClient } from '../sdk/client.ts'
import { credentialsUrl } from './credentials-url.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import type { Verb } from './verb.ts'

const OPTIONS = {
  ...SOCKET_OPTIONS,
  role: { type: 'string' },
  with: { type: 'string' },
} as const

type Environment = Record<string, string | undefined>

// Of the SDKs' default chain these come before what is set here, and would win over it.
const EARLIER_IN_CHAIN = [
  'ALIBABA_CLOUD_ACCESS_KEY_ID',
  'ALIBABA_CLOUD_ACCESS_KEY_SECRET',
  'ALIBABA_CLOUD_SECURITY_TOKEN',
  'ALIBABA_CLOUD_ROLE_ARN',
  'ALIBABA_CLOUD_OIDC_PROVIDER_ARN',
  'ALIBABA_CLOUD_OIDC_TOKEN_FILE',
  'ALIBABA_CLOUD_CREDENTIALS_URI',
  'ALIBABA_CLOUD_ECS_METADATA',
]

export const exec: Verb = {
  summary: 'run a command with the environment that SDKs know',
  help: `Usage: metabind exec [--role ROLE] [--with uri|env] [--] COMMAND [ARGUMENTS]

Runs COMMAND in place of this process, so that the Alibaba Cloud SDKs in it get the role's credentials
from the agent. Settings of other credentials are taken out of its environment.

  --role ROLE          the RAM role (default: the role of the instance)
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
    const added = await environment(values.with ?? 'uri', socket, values.role)
    if (process.execve === undefined) throw new MetabindError('INTERNAL', 'there is no execve')
    process.execve(file, [name, ...rest], definedOf({ ...process.env, ...added }))
    throw new MetabindError('INTERNAL', 'execve returned')
  },
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

async function environment(how: string, socket: string, role?: string): Promise<Environment> {
  if (how !== 'uri' && how !== 'env') throw new UsageError(`--with takes uri or env, not '${how}'`)
  const client = openClient({ socket, ttlSeconds: 60 })
  const cleared = Object.fromEntries(EARLIER_IN_CHAIN.map((name) => [name, undefined]))
  const common = {
    ...cleared,
    METABIND_SOCKET: socket,
    // No SDK here shall go around the agent, nor read without a token.
    ALIBABA_CLOUD_ECS_METADATA_DISABLED: 'true',
    ALIBABA_CLOUD_IMDSV1_DISABLED: 'true',
    ALIBABA_CLOUD_CLI_PROFILE_DISABLED: 'true',
  }
  if (how === 'uri') {
    return { ...common, ALIBABA_CLOUD_CREDENTIALS_URI: await credentialsUrl(client, role) }
  }
  const credentials = await client.credentials(role)
  return {
    ...common,
    ALIBABA_CLOUD_ACCESS_KEY_ID: credentials.accessKeyId,
    ALIBABA_CLOUD_ACCESS_KEY_SECRET: credentials.accessKeySecret.reveal(),
    ALIBABA_CLOUD_SECURITY_TOKEN: credentials.securityToken.reveal(),
  }
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
