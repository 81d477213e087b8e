import { type InstanceIdentity, iidOf, keyContext } from '../format/instance-identity.ts'
import type { Secret } from '../secret.ts'
import type { DeriveRoots } from './derive-key.ts'
import { type EpochKeys, epochKeys } from './epoch-keys.ts'
import type { Revocations } from './revocations.ts'

/** The token keys of the running agent: those of the present generation, and what was revoked. */
export interface BoundKeys {
  readonly identity: InstanceIdentity
  /** The iid in hex. */
  readonly iid: string
  readonly iidPrefix: string
  key(epoch: number): Buffer | undefined
  isRevoked(random: string): boolean
  isCurrent(): boolean
  /** How many keys there are. */
  readonly count: number
  /** See EpochKeys.refresh. */
  refresh(): Promise<void>
  /** Revokes every token: a new generation, whose keys are derived before this returns. */
  revokeAll(): Promise<void>
  revokeToken(random: string, expiresAtMs: number): void
  clear(): void
}

/** What the keys are bound to and made from. */
export interface KeyBinding {
  readonly identity: InstanceIdentity
  readonly bootId: string
  readonly salt: Secret<Buffer>
  readonly revocations: Revocations
  readonly derive: DeriveRoots
  readonly bootTimeMs: () => number
}

/** @returns keys, none of them derived yet: call refresh */
export function boundKeys(binding: KeyBinding): BoundKeys {
  const { identity, revocations } = binding
  const iid = iidOf(identity).toString('hex')
  const ofThisGeneration = (): EpochKeys => {
    const context = keyContext(identity, binding.bootId, revocations.generation)
    return epochKeys(binding.derive, context, binding.salt, binding.bootTimeMs)
  }
  let keys = ofThisGeneration()
  return {
    identity,
    iid,
    iidPrefix: iid.slice(0, 16),
    key: (epoch) => keys.key(epoch),
    isRevoked: (random) => revocations.isRevoked(random),
    isCurrent: () => keys.isCurrent(),
    get count() {
      return keys.count
    },
    refresh: () => keys.refresh(),
    revokeAll: async () => {
      revocations.revokeAll()
      // From here no old token is good, whether or not the new keys can be derived at once.
      keys.clear()
      keys = ofThisGeneration()
      await keys.refresh()
    },
    revokeToken: (random, expiresAtMs) => revocations.revokeToken(random, expiresAtMs),
    clear: () => keys.clear(),
  }
}
