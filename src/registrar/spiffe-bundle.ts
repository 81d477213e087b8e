import type { KeyRing } from '../registrar-keys/key-ring.ts'
import type { KeyKind } from '../registrar-keys/key-schedule.ts'

/** Below the registrar's URL. */
export const SPIFFE_BUNDLE_PATH = '/spiffe/bundle.json'

/** What a key is published for (JWT-SVID 6.1, WIT-SVID 6.1). */
const USES: Readonly<Partial<Record<KeyKind, string>>> = {
  RS256: 'jwt-svid',
  ES256: 'jwt-svid',
  wit: 'wit-svid',
}
/** As long as verifiers may keep it: see discovery.ts. */
const REFRESH_SECONDS = 3600

/** The bundle of the trust domain (SPIFFE Trust Domain and Bundle, 4). */
export function spiffeBundle(published: KeyRing['published']): object {
  const ofTokens = published.filter(({ kind }) => USES[kind] !== undefined)
  return {
    spiffe_sequence: sequenceOf(ofTokens),
    spiffe_refresh_hint: REFRESH_SECONDS,
    keys: ofTokens.map(({ kind, kid, jwk }) => ({ use: USES[kind], kid, ...jwk })),
  }
}

/**
 * A number that goes up with each change, and that every replica finds without telling the others: a key that comes is
 * the newest of its kind, and one that goes is the oldest.
 */
function sequenceOf(published: KeyRing['published']): number {
  const byKind = Map.groupBy(published, ({ kind }) => kind)
  const starts = [...byKind.values()].map((keys) => keys.map(({ startsAtMs }) => startsAtMs))
  return starts.reduce((sum, ofKind) => sum + Math.min(...ofKind) + Math.max(...ofKind), 0)
}
