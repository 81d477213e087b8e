import { randomUUID } from 'node:crypto'
import type { Caller } from '../caller/caller.ts'
import { identityTokenInput } from '../format/identity-token.ts'
import { jwsOfTpm } from '../format/jws.ts'
import { Secret } from '../secret.ts'

/** Issues identity tokens: JWTs that say to services elsewhere which instance this is, and who on it asked. */
export interface IdentityTokens {
  /**
   * @param isUserSaid whether it says who asked; the unit it says all the same
   * @throws MetabindError LIMIT_SIGNATURES, TPM_…, CALLER_UNKNOWN
   */
  issue(
    audience: string,
    caller: Pick<Caller, 'uid' | 'unit'>,
    isUserSaid?: boolean,
  ): Promise<Secret<string>>
}

/** Whom the tokens speak of, and who signs them. */
export interface IdentityTokensDeps {
  readonly instanceId: string
  readonly iid: string
  readonly lifetimeSeconds: number
  /** TPMT_SIGNATURE over a text, by SK, for a user. */
  readonly sign: (text: string, uid: number) => Promise<Buffer>
  /** The wall clock, in milliseconds: services elsewhere have no other in common with us. */
  readonly wallTimeMs: () => number
}

export function identityTokens(deps: IdentityTokensDeps): IdentityTokens {
  return {
    issue: async (audience, { uid, unit }, isUserSaid = true) => {
      const iat = Math.floor(deps.wallTimeMs() / 1000)
      const input = identityTokenInput({
        iss: `metabind:${deps.iid}`,
        sub: deps.instanceId,
        aud: audience,
        iat,
        exp: iat + deps.lifetimeSeconds,
        jti: randomUUID(),
        iid: deps.iid,
        ...(isUserSaid ? { uid } : {}),
        ...(unit === undefined ? {} : { unit }),
      })
      return new Secret(jwsOfTpm(input, await deps.sign(input, uid)))
    },
  }
}
