import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { exportJWK, SignJWT } from 'jose'
import * as oauth from 'oauth4webapi'

/** A service elsewhere whose tokens are bound to keys, as oauth4webapi checks them: nothing of it is ours. */
export interface ProofService {
  readonly url: string
  /** An access token that is bound to a key (`cnf.jkt`, RFC 9449, 6). */
  tokenFor(jkt: string): Promise<string>
  /** @returns `accepted`, or why not */
  ask(request: AskedOfService): Promise<string>
}

interface AskedOfService {
  readonly method?: string
  readonly path?: string
  readonly token: string
  readonly proof: string
}

const ISSUER = 'https://issuer.example'
const AUDIENCE = 'https://api.example'

export async function proofService(): Promise<ProofService> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'a', use: 'sig', alg: 'ES256' }] }
  const server: oauth.AuthorizationServer = { issuer: ISSUER, jwks_uri: `${ISSUER}/jwks.json` }
  const used = new Set<string>()
  const idOf = (proof: string): string =>
    JSON.parse(Buffer.from(proof.split('.')[1] ?? '', 'base64url').toString()).jti
  return {
    url: AUDIENCE,
    tokenFor: (jkt) =>
      new SignJWT({ client_id: 'app', cnf: { jkt } })
        .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: 'a' })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject('app')
        .setJti(randomUUID())
        .setIssuedAt()
        .setExpirationTime('5m')
        .sign(privateKey),
    ask: async ({ method = 'GET', path = '/orders', token, proof }) => {
      const request = new Request(`${AUDIENCE}${path}`, {
        method,
        headers: { authorization: `DPoP ${token}`, dpop: proof },
      })
      try {
        await oauth.validateJwtAccessToken(server, request, AUDIENCE, {
          requireDPoP: true,
          [oauth.customFetch]: async () => Response.json(keys),
        })
      } catch (error) {
        return error instanceof Error ? error.message : String(error)
      }
      // RFC 9449, 11.1: the library leaves it to the service.
      if (used.has(idOf(proof))) return 'used before'
      used.add(idOf(proof))
      return 'accepted'
    },
  }
}
