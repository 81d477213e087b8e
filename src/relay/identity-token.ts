import { randomUUID } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { identityTokenInput, identityTokenOf } from '../format/identity-token.ts'
import { Secret } from '../secret.ts'

/** Issues identity tokens: JWTs that say to services elsewhere which instance this is. */
export interface IdentityTokens {
  /** @throws MetabindError LIMIT_SIGNATURES, TPM_… */
  issue(audience: string): Promise<Secret<string>>
}

/** Whom the tokens speak of, and who signs them. */
export interface IdentityTokensDeps {
  readonly instanceId: string
  readonly iid: string
  readonly lifetimeSeconds: number
  /** TPMT_SIGNATURE over a text, by SK. */
  readonly sign: (text: string) => Promise<Buffer>
  /** The wall clock, in milliseconds: services elsewhere have no other in common with us. */
  readonly wallTimeMs: () => number
}

export function identityTokens(deps: IdentityTokensDeps): IdentityTokens {
  return {
    issue: async (audience) => {
      const iat = Math.floor(deps.wallTimeMs() / 1000)
      const input = identityTokenInput({
        iss: `metabind:${deps.iid}`,
        sub: deps.instanceId,
        aud: audience,
        iat,
        exp: iat + deps.lifetimeSeconds,
        jti: randomUUID(),
        iid: deps.iid,
      })
      return new Secret(identityTokenOf(input, await deps.sign(input)))
    },
  }
}

const QUERY = /^audience=([A-Za-z0-9._~!$'()*,:@/%-]{1,768})$/
const AUDIENCE = /^[\x21-\x7e]{1,256}$/

/**
 * Reads the audience of a request: one, percent-encoded if need be, 1 to 256 printable ASCII
 * characters once decoded.
 *
 * @throws MetabindError REQUEST_QUERY
 */
export function parseAudience(query: string | undefined): string {
  const encoded = QUERY.exec(query ?? '')?.[1]
  if (encoded === undefined) throw new MetabindError('REQUEST_QUERY')
  const audience = decode(encoded)
  if (!AUDIENCE.test(audience)) throw new MetabindError('REQUEST_QUERY')
  return audience
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new MetabindError('REQUEST_QUERY')
  }
}
