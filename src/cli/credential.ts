import type { RamCredentials } from '../dialect/role-credentials.ts'
import { UsageError } from '../errors.ts'
import { openClient } from '../sdk/client.ts'
import { credentialsUrl } from './credentials-url.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print } from './output.ts'
import type { Verb } from './verb.ts'

const OPTIONS = { ...SOCKET_OPTIONS, uri: { type: 'boolean' } } as const
// For two reads: the token need not outlive the command by much.
const TTL_SECONDS = 60

export const credential: Verb = {
  summary: 'credentials of the RAM role, for SDKs',
  help: `Usage: metabind credential [ROLE] [--uri]

Prints credentials of ROLE (default: the role of the instance) as the JSON that SDK profiles of mode
External expect of their process_command, or on an instance of EC2 as AWS SDKs expect it of a
credential_process. Keep Alibaba Cloud's SDK from writing them into its configuration:
docs/sdks.md says how, and metabind doctor whether it can.

  --uri                print your credentials URL instead, for ALIBABA_CLOUD_CREDENTIALS_URI or
                       AWS_CONTAINER_CREDENTIALS_FULL_URI
${SOCKET_HELP}`,
  run: async (args) => {
    const { values, positionals } = parseVerb(args, OPTIONS, 1)
    const [role] = positionals
    if (role === '') throw new UsageError('ROLE is empty')
    const client = openClient({ socket: socketsOf(values).metadata, ttlSeconds: TTL_SECONDS })
    const said = values.uri
      ? await credentialsUrl(client, role)
      : forProcess(await client.credentials(role))
    print(`${said}\n`)
    return 0
  },
}

function forProcess(credentials: RamCredentials): string {
  const said = { aliyun: externalProfile, ec2: credentialProcess }[credentials.dialect]
  return JSON.stringify(said(credentials))
}

/** What AWS SDKs read from a credential_process (AWS SDKs reference, "Process credential provider"). */
function credentialProcess(credentials: RamCredentials): object {
  return {
    Version: 1,
    AccessKeyId: credentials.accessKeyId,
    SecretAccessKey: credentials.accessKeySecret.reveal(),
    SessionToken: credentials.securityToken.reveal(),
    Expiration: inSeconds(credentials.expiration),
  }
}

/** What @alicloud/credentials and the aliyun CLI read from a process_command. */
function externalProfile(credentials: RamCredentials): object {
  return {
    mode: 'StsToken',
    access_key_id: credentials.accessKeyId,
    access_key_secret: credentials.accessKeySecret.reveal(),
    sts_token: credentials.securityToken.reveal(),
    expiration: inSeconds(credentials.expiration),
  }
}

function inSeconds(time: Date): string {
  return time.toISOString().replace('.000Z', 'Z')
}
