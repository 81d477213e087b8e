import { randomUUID } from 'node:crypto'
import type { KeyRing } from '../registrar-keys/key-ring.ts'
import { signedJwt } from '../registrar-keys/signed-jwt.ts'
import type { EnrolledInstance } from '../registrar-repository/enrolled-instance.ts'
import type { Secret } from '../secret.ts'
import type { Audience } from './audience-rules.ts'
import { statusClaim } from './status-list.ts'
import type { TokenSubject } from './subject.ts'
import type { TokenFormat } from './token-format.ts'

/** What a token says. */
export interface TokenOrder {
  readonly format: TokenFormat
  readonly instance: EnrolledInstance
  readonly subject: TokenSubject
  readonly audience: Audience
  /** Of the instance, in the status list. */
  readonly statusIndex: number
  /** Thumbprint of the key that an access token is bound to; undefined if to none. */
  readonly jkt: string | undefined
}

/** Signs tokens that name an instance. */
export interface TokenIssuer {
  issue(order: TokenOrder): Promise<Secret<string>>
}

interface TokenIssuerDeps {
  /** The registrar's own name. */
  readonly url: string
  /** Of SPIFFE; undefined if it issues none of its tokens. */
  readonly trustDomain: string | undefined
  readonly keys: Pick<KeyRing, 'signing'>
  readonly nowMs: () => number
}

type Claims = Readonly<Record<string, unknown>>

/**
 * WITs are signed by keys of their own, and so they have an issuer of their own, with a discovery of its own: who takes
 * ID tokens never comes to trust a key of theirs.
 */
export function witIssuerOf(url: string): string {
  return `${url}/wit`
}

export function tokenIssuer(deps: TokenIssuerDeps): TokenIssuer {
  return {
    issue: async (order) => {
      const { name: aud, algorithm, lifetime_seconds: lifetimeSeconds } = order.audience
      const iat = Math.floor(deps.nowMs() / 1000)
      const status = statusClaim(deps.url, order.statusIndex)
      const common = { iat, exp: iat + lifetimeSeconds, jti: randomUUID(), status }
      switch (order.format) {
        case 'id_token':
          return signedJwt(deps.keys, algorithm, 'JWT', {
            ...common,
            nbf: iat,
            aud,
            ...idClaims(deps, order),
          })
        case 'access_token':
          return signedJwt(deps.keys, algorithm, 'at+jwt', {
            ...common,
            aud,
            ...accessClaims(deps, order),
          })
        case 'jwt_svid':
          return signedJwt(deps.keys, algorithm, 'JWT', {
            ...{ iss: deps.url, sub: spiffeId(deps, order.subject), aud },
            ...common,
          })
        case 'wit':
          return signedJwt(deps.keys, 'wit', 'wit+jwt', { ...common, ...witClaims(deps, order) })
      }
    },
  }
}

/** OpenID Connect Core 1.0, 2. */
function idClaims({ url }: TokenIssuerDeps, { subject, instance }: TokenOrder): Claims {
  const { iid, dialect, instanceId } = instance
  return { iss: url, sub: subject.name, iid, dialect, instance_id: instanceId }
}

/** RFC 9068, 2.2: the instance is the client, and there is nobody else in it. RFC 9449, 6.1. */
function accessClaims(deps: TokenIssuerDeps, { subject, instance, jkt }: TokenOrder): Claims {
  const bound = jkt === undefined ? {} : { cnf: { jkt } }
  return { iss: deps.url, sub: subject.name, client_id: instance.iid, ...bound }
}

/** draft-ietf-wimse-workload-creds: for nobody in particular, and good for nothing without a proof by SK. */
function witClaims(deps: TokenIssuerDeps, { subject, instance }: TokenOrder): Claims {
  const { kty, crv, x, y } = instance.sk
  const cnf = { jwk: { kty, crv, x, y, alg: 'ES256' } }
  return { iss: witIssuerOf(deps.url), sub: spiffeId(deps, subject), cnf }
}

/** @throws RangeError if there is no trust domain: the configuration then has no audience that wants one */
function spiffeId({ trustDomain }: TokenIssuerDeps, { path }: TokenSubject): string {
  if (trustDomain === undefined) throw new RangeError('no trust domain')
  return `spiffe://${trustDomain}${path}`
}
