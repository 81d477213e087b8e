import { jwkThumbprint, type PublicJwk } from '../format/public-jwk.ts'
import { parseJson } from '../json.ts'
import type { Repository, StoredSigningKey } from '../registrar-repository/repository.ts'
import { addNewKey, noKey, removeKeys } from './kept-keys.ts'
import {
  KEY_KINDS,
  type KeyKind,
  type KeySchedule,
  nextStartMs,
  overdue,
  type SigningAlgorithm,
  signingNow,
} from './key-schedule.ts'
import type { KeyStore, PrivateKey } from './private-key.ts'
import { rotatedAtMs } from './rotate-mark.ts'

/** A key as verifiers get it, but for what it is published for. */
interface PublishedKey {
  readonly kind: KeyKind
  readonly kid: string
  readonly alg: SigningAlgorithm
  readonly startsAtMs: number
  readonly jwk: PublicJwk
}

/** The keys that tokens are signed with. */
export interface KeyRing {
  /** @throws MetabindError REGISTRAR_HSM if none was made yet */
  signing(kind: KeyKind): { readonly kid: string; readonly key: PrivateKey }
  /** Those that sign, will sign, or have signed what is not over. */
  readonly published: readonly PublishedKey[]
  /** Takes over what other replicas did, makes keys that are due, and removes those that are over. */
  refresh(): Promise<void>
}

interface KeyRingDeps {
  readonly repository: Repository
  readonly store: KeyStore
  readonly schedule: KeySchedule
  /** What keys are needed for. */
  readonly kinds: readonly KeyKind[]
  readonly nowMs: () => number
}

interface HeldKey extends PublishedKey {
  readonly key: PrivateKey
  readonly sealed: Buffer
}

const KEY_KIND_NAMES = Object.keys(KEY_KINDS) as KeyKind[]

export function keyRing({ repository, store, schedule, kinds, nowMs }: KeyRingDeps): KeyRing {
  let held: readonly HeldKey[] = []
  const load = async (): Promise<void> => {
    const stored = await repository.signingKeys()
    held = stored.flatMap((one) => held.find(({ kid }) => kid === one.kid) ?? opened(store, one))
  }
  const of = (kind: KeyKind) => held.filter((key) => key.kind === kind)
  return {
    signing: (kind) => {
      const found = signingNow(of(kind), nowMs())
      if (found === undefined) throw noKey(kind)
      return found
    },
    get published() {
      return held
    },
    refresh: async () => {
      await load()
      const wantedAtMs = await rotatedAtMs(repository)
      for (const kind of kinds) {
        const startsAtMs = nextStartMs(of(kind), schedule, nowMs(), wantedAtMs)
        const newestMs = Math.max(-1, ...of(kind).map((key) => key.startsAtMs))
        if (startsAtMs === undefined) continue
        await addNewKey({ repository, store }, await newKey(kind, startsAtMs, store), newestMs)
      }
      await load()
      const over = kinds.flatMap((one) => overdue(of(one), schedule, nowMs()))
      await removeKeys({ repository, store }, over)
      held = held.filter((key) => !over.includes(key))
    },
  }
}

/** @returns nothing of a kind that a later version made, whose replica runs beside this one */
function opened(store: KeyStore, stored: StoredSigningKey): HeldKey | [] {
  const { kid, startsAtMs, publicJwk, sealed } = stored
  const kind = KEY_KIND_NAMES.find((one) => one === stored.kind)
  if (kind === undefined) return []
  const jwk = parseJson(publicJwk) as PublicJwk
  const key = store.open(sealed, jwk)
  return { kind, kid, alg: KEY_KINDS[kind], startsAtMs, jwk, key, sealed }
}

async function newKey(
  kind: KeyKind,
  startsAtMs: number,
  store: KeyStore,
): Promise<StoredSigningKey> {
  const { key, sealed } = await store.make(KEY_KINDS[kind], kind)
  const kid = jwkThumbprint(key.publicJwk)
  return { kid, kind, startsAtMs, publicJwk: JSON.stringify(key.publicJwk), sealed }
}
