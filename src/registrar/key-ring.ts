import { createPrivateKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { MetabindError } from '../errors.ts'
import { jwkThumbprint, type PublicJwk } from '../format/public-jwk.ts'
import { parseJson } from '../json.ts'
import {
  KEY_KINDS,
  type KeyKind,
  type KeySchedule,
  nextStartMs,
  overdue,
  type SigningAlgorithm,
  signingNow,
} from './key-schedule.ts'
import type { MasterKey } from './master-key.ts'
import type { Repository, StoredSigningKey } from './repository.ts'

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
  /** @throws MetabindError INTERNAL if none was made yet */
  signing(kind: KeyKind): { readonly kid: string; readonly key: KeyObject }
  /** Those that sign, will sign, or have signed what is not over. */
  readonly published: readonly PublishedKey[]
  /** Takes over what other replicas did, makes keys that are due, and removes those that are over. */
  refresh(): Promise<void>
}

interface KeyRingDeps {
  readonly repository: Repository
  readonly master: MasterKey
  readonly schedule: KeySchedule
  /** What keys are needed for. */
  readonly kinds: readonly KeyKind[]
  readonly nowMs: () => number
}

interface HeldKey extends PublishedKey {
  readonly key: KeyObject
}

const SEALED_FOR = 'signing key'
const RSA_BITS = 2048
const KEY_KIND_NAMES = Object.keys(KEY_KINDS) as KeyKind[]

export function keyRing({ repository, master, schedule, kinds, nowMs }: KeyRingDeps): KeyRing {
  let held: readonly HeldKey[] = []
  const load = async (): Promise<void> => {
    const stored = await repository.signingKeys()
    held = stored.flatMap((one) => held.find(({ kid }) => kid === one.kid) ?? opened(master, one))
  }
  const of = (kind: KeyKind) => held.filter((key) => key.kind === kind)
  return {
    signing: (kind) => {
      const found = signingNow(of(kind), nowMs())
      if (found === undefined) throw new MetabindError('INTERNAL', `no key for ${kind}`)
      return found
    },
    get published() {
      return held
    },
    refresh: async () => {
      await load()
      for (const kind of kinds) {
        const startsAtMs = nextStartMs(of(kind), schedule, nowMs())
        const newestMs = Math.max(-1, ...of(kind).map((key) => key.startsAtMs))
        if (startsAtMs === undefined) continue
        // Of two replicas that make one at the same time the second is in vain.
        await repository.addSigningKey(await newKey(kind, startsAtMs, master), newestMs)
      }
      await load()
      const over = kinds.flatMap((one) => overdue(of(one), schedule, nowMs()))
      await repository.removeSigningKeys(over.map(({ kid }) => kid))
      held = held.filter((key) => !over.includes(key))
    },
  }
}

/** @returns nothing of a kind that a later version made, whose replica runs beside this one */
function opened(master: MasterKey, stored: StoredSigningKey): HeldKey | [] {
  const { kid, startsAtMs, publicJwk } = stored
  const kind = KEY_KIND_NAMES.find((one) => one === stored.kind)
  if (kind === undefined) return []
  const jwk = parseJson(publicJwk) as PublicJwk
  const key = openPrivateKey(master, stored.sealed)
  return { kind, kid, alg: KEY_KINDS[kind], startsAtMs, jwk, key }
}

/** @throws MetabindError REGISTRAR_DATABASE */
export function openPrivateKey(master: MasterKey, sealed: Buffer): KeyObject {
  const der = master.open(SEALED_FOR, sealed)
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  der.fill(0)
  return key
}

export function sealPrivateKey(master: MasterKey, key: KeyObject): Buffer {
  const der = key.export({ type: 'pkcs8', format: 'der' })
  const sealed = master.seal(SEALED_FOR, der)
  der.fill(0)
  return sealed
}

async function newKey(
  kind: KeyKind,
  startsAtMs: number,
  master: MasterKey,
): Promise<StoredSigningKey> {
  const generate = promisify(generateKeyPair)
  const { publicKey, privateKey } =
    KEY_KINDS[kind] === 'RS256'
      ? await generate('rsa', { modulusLength: RSA_BITS })
      : await generate('ec', { namedCurve: 'P-256' })
  const jwk = publicJwkOf(publicKey)
  const sealed = sealPrivateKey(master, privateKey)
  return {
    kid: jwkThumbprint(jwk),
    kind,
    startsAtMs,
    publicJwk: JSON.stringify(jwk),
    sealed,
  }
}

export function publicJwkOf(key: KeyObject): PublicJwk {
  const { crv, x, y, n, e } = key.export({ format: 'jwk' })
  if (n !== undefined && e !== undefined) return { kty: 'RSA', n, e }
  if (crv === undefined || x === undefined || y === undefined) throw new RangeError('another key')
  return { kty: 'EC', crv, x, y }
}
