import { DIALECTS } from '../dialect/dialects.ts'
import { revealAs } from '../dialect/role-credentials.ts'
import { UsageError } from '../errors.ts'
import { openClient, type RamCredentials } from '../sdk/client.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import { credentialsOf, credentialsUrl } from './role.ts'
import type { Verb } from './verb.ts'

const OPTIONS = { ...SOCKET_OPTIONS, uri: { type: 'boolean' }, json: { type: 'boolean' } } as const
// For two reads: the token need not outlive the command by much.
const TTL_SECONDS = 60

export const credential: Verb = {
  summary: 'credentials of the RAM role, for SDKs',
  help: `Usage: metabind credential [ROLE] [--uri] [--json]

Prints credentials of ROLE (default: the role of the instance) as the JSON that
SDK profiles of mode External expect of their process_command, or on an instance
of EC2 as AWS SDKs expect it of a credential_process. Keep Alibaba Cloud's SDK
from writing them into its configuration: docs/sdks.md says how, and metabind
doctor whether it can.

  --uri                print your credentials URL instead, for
                       ALIBABA_CLOUD_CREDENTIALS_URI or
                       AWS_CONTAINER_CREDENTIALS_FULL_URI
  --json               print the answer as JSON with the version of its shape
${SOCKET_HELP}`,
  run: async (args) => {
    const { values, positionals } = parseVerb(args, OPTIONS, 1)
    const [role] = positionals
    if (role === '') throw new UsageError('ROLE is empty')
    const client = openClient({ socket: socketsOf(values).metadata, ttlSeconds: TTL_SECONDS })
    if (values.uri) {
      const url = await credentialsUrl(client, role)
      if (values.json) printAnswer('credential-uri', { url })
      else print(`${url}\n`)
      return 0
    }
    const said = forProcess(await credentialsOf(client, role))
    if (values.json) printAnswer('credential', said)
    else print(`${JSON.stringify(said)}\n`)
    return 0
  },
}

/** The JSON that the SDKs of the credentials' cloud expect of a program. */
function forProcess(credentials: RamCredentials): object {
  const { constant, names, expiration } = DIALECTS[credentials.dialect].sdk.process
  const end = credentials.expiration.toISOString().replace('.000Z', 'Z')
  return { ...constant, ...revealAs(names, credentials), [expiration]: end }
}
