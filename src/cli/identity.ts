import { makeToken, readMetadata } from '../client.ts'
import { UsageError } from '../errors.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import type { Verb } from './verb.ts'

// For one call: the session token need not outlive the command by much.
const TTL_SECONDS = '60'

export const identity: Verb = {
  summary: 'make an identity token for a service elsewhere',
  help: `Usage: metabind identity --audience AUDIENCE [--json]

Prints a token (a JWT, ES256) that says to AUDIENCE which instance this is,
signed in the TPM. docs/identity.md shows how a service verifies it.

  --audience AUDIENCE  whom it is for: 1 to 256 characters without blanks, such
                       as a URL
  --json               print the answer as JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const options = {
      ...SOCKET_OPTIONS,
      audience: { type: 'string' },
      json: { type: 'boolean' },
    } as const
    const { values } = parseVerb(args, options, 0)
    const { audience } = values
    const takes = '1 to 256 characters of ASCII without blanks, such as the URL of the service'
    if (audience === undefined) throw new UsageError(`--audience is missing: ${takes}`)
    if (!/^[\x21-\x7e]{1,256}$/.test(audience)) throw new UsageError(`--audience takes ${takes}`)
    const sockets = socketsOf(values)
    const path = `/metabind/v1/identity?audience=${encodeURIComponent(audience)}`
    const { body } = await readMetadata(sockets, path, await makeToken(sockets, TTL_SECONDS))
    const token = body.toString('latin1')
    if (values.json) printAnswer('identity', { audience, token })
    else print(`${token}\n`)
    return 0
  },
}
