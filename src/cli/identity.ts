import { makeToken, readMetadata } from '../client.ts'
import { UsageError } from '../errors.ts'
import { parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print } from './output.ts'
import type { Verb } from './verb.ts'

// For one call: the session token need not outlive the command by much.
const TTL_SECONDS = '60'

export const identity: Verb = {
  summary: 'make an identity token for a service elsewhere',
  help: `Usage: metabind identity --audience AUDIENCE

Prints a token (a JWT, ES256) that says to AUDIENCE which instance this is, signed in the TPM.
docs/identity.md shows how a service verifies it.

  --audience AUDIENCE  whom it is for: 1 to 256 characters without blanks, such as a URL
${SOCKET_HELP}`,
  run: async (args) => {
    const options = { ...SOCKET_OPTIONS, audience: { type: 'string' } } as const
    const { values } = parseVerb(args, options, 0)
    const { audience = '' } = values
    if (!/^[\x21-\x7e]{1,256}$/.test(audience)) {
      throw new UsageError('--audience takes 1 to 256 characters of ASCII without blanks')
    }
    const sockets = socketsOf(values)
    const path = `/metabind/v1/identity?audience=${encodeURIComponent(audience)}`
    const { body } = await readMetadata(sockets, path, await makeToken(sockets, TTL_SECONDS))
    print(`${body.toString('latin1')}\n`)
    return 0
  },
}
