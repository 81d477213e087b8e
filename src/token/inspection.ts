import type { Inspection } from '../admin-api.ts'
import type { Audit } from '../audit/audit.ts'
import type { Caller } from '../caller/caller.ts'
import { ERRORS } from '../error-table.ts'
import { MetabindError } from '../errors.ts'
import type { TokenAuthority } from './authority.ts'
import { decodeToken } from './claims.ts'

/** What inspecting needs of the agent. */
export interface InspectionDeps {
  readonly iid: string
  readonly tokens: TokenAuthority
  readonly bootTimeMs: () => number
}

/** Says whether a token is good here for this caller, and if not, exactly why. */
export function inspectToken(deps: InspectionDeps, text: string, caller: Caller): Inspection {
  return inspection(deps, () => deps.tokens.redeem(text, caller))
}

/**
 * The same for callers of the metadata socket. What a token says of its user is looked at before its
 * MAC: of another user's token nobody learns here whether it is good.
 */
export function inspectOwnToken(deps: InspectionDeps, text: string, caller: Caller): Inspection {
  return inspection(deps, () => {
    const { boundTo, uid } = decodeToken(text).claims
    if (boundTo.uid && uid !== caller.uid) {
      throw new MetabindError('TOKEN_CALLER', `it says that it was made for uid ${uid}`)
    }
    return deps.tokens.redeem(text, caller)
  })
}

/** Whoever asks about a token of another instance has one: that is an event. */
export function auditForeign(audit: Audit, found: Inspection, id: string, caller: Caller): void {
  if (found.valid || found.code !== 'TOKEN_FOREIGN') return
  audit({ event: 'token.foreign', id, caller, code: found.code, detail: found.detail })
}

function inspection(
  { iid, bootTimeMs }: InspectionDeps,
  redeem: () => ReturnType<TokenAuthority['redeem']>,
): Inspection {
  try {
    const { uid, boundTo, expiresAtMs } = redeem()
    const secondsLeft = Math.ceil((expiresAtMs - bootTimeMs()) / 1000)
    return {
      valid: true,
      iid,
      uid,
      boundToUid: boundTo.uid,
      boundToUnit: boundTo.unit,
      secondsLeft,
    }
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    const { code, detail } = error
    const { sentence } = ERRORS[code]
    return { valid: false, code, sentence, detail }
  }
}
