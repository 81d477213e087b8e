import { createHash, timingSafeEqual } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { EPOCH_MS, TTL_SECONDS_MAX } from './claims.ts'
import { type DeriveRoots, deriveKey } from './derive-key.ts'

const LABEL = 'metabind token key v1'
// A token of epoch e ends at the latest when epoch e + 7 begins: an hour to be issued, six to live.
const EPOCHS_BACK = (TTL_SECONDS_MAX * 1000) / EPOCH_MS

/** The token keys of this boot that a living token can have, and the one of the hour to come. */
export interface EpochKeys {
  /** The key of an epoch, or undefined if it is over or not derived. */
  key(epoch: number): Buffer | undefined
  /** How many keys there are. */
  readonly count: number
  /** Whether the keys of this hour and the next are there. */
  isCurrent(): boolean
  /**
   * Derives what is missing, wipes what is over, and proves that the same TPM is still there: the
   * key of the first epoch that was derived must come out the same again. One at a time, in the order of asking.
   *
   * @throws MetabindError TPM_OTHER; or the TPM's failure. The keys are then as they were.
   */
  refresh(): Promise<void>
  /** Wipes every key, and those that are being derived. There are none any more. */
  clear(): void
}

/**
 * @param context see keyContext
 * @param salt see loadSalt
 */
export function epochKeys(
  derive: DeriveRoots,
  context: Buffer,
  salt: Secret<Buffer>,
  bootTimeMs: () => number,
): EpochKeys {
  const keys = new Map<number, Buffer>()
  let witness: { readonly epoch: number; readonly digest: Buffer } | undefined
  let isCleared = false
  // Two at once before there is a witness would each make one, of epochs that differ once an hour.
  let before: Promise<void> = Promise.resolve()

  const deriveKeys = async (epochs: readonly number[]): Promise<Map<number, Buffer>> => {
    const roots = await derive(epochs.map((epoch) => message(context, epoch)))
    return new Map(
      epochs.flatMap((epoch, at) => {
        const values = roots[at]
        return values === undefined ? [] : [[epoch, deriveKey(values, salt, LABEL)] as const]
      }),
    )
  }

  const refresh = async (): Promise<void> => {
    const wanted = wantedEpochs(epochAt(bootTimeMs()))
    const missing = wanted.filter((epoch) => !keys.has(epoch))
    const proof = witness?.epoch ?? missing[0] ?? 0
    const derived = await deriveKeys([...new Set([proof, ...missing])])
    if (isCleared) return wipe(derived.values())
    const proofKey = derived.get(proof)
    if (proofKey === undefined) throw new MetabindError('INTERNAL', 'no key derived')
    witness ??= { epoch: proof, digest: digestOf(proofKey) }
    if (!timingSafeEqual(digestOf(proofKey), witness.digest)) {
      wipe(derived.values())
      throw new MetabindError('TPM_OTHER', 'a key derived again differs')
    }
    for (const [epoch, key] of derived) {
      if (missing.includes(epoch)) keys.set(epoch, key)
      else key.fill(0)
    }
    for (const [epoch, key] of keys) {
      if (wanted.includes(epoch)) continue
      key.fill(0)
      keys.delete(epoch)
    }
  }

  return {
    key: (epoch) => keys.get(epoch),
    get count() {
      return keys.size
    },
    isCurrent: () => keys.has(epochAt(bootTimeMs())) && keys.has(epochAt(bootTimeMs()) + 1),
    refresh: () => {
      const refreshed = before.then(refresh)
      before = refreshed.catch(() => undefined)
      return refreshed
    },
    clear: () => {
      isCleared = true
      wipe(keys.values())
      keys.clear()
    },
  }
}

/** The epoch, an hour of boot time, that a moment lies in. */
function epochAt(bootTimeMs: number): number {
  return Math.floor(bootTimeMs / EPOCH_MS)
}

function wantedEpochs(current: number): number[] {
  const first = Math.max(0, current - EPOCHS_BACK)
  return Array.from({ length: current + 2 - first }, (_, at) => first + at)
}

/** What RK and BK are asked to authenticate: the label, the context and the epoch as u64. */
function message(context: Buffer, epoch: number): Buffer {
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(epoch))
  return Buffer.concat([Buffer.from(LABEL), context, counter])
}

function digestOf(key: Buffer): Buffer {
  return createHash('sha256').update(key).digest()
}

function wipe(buffers: Iterable<Buffer>): void {
  for (const buffer of buffers) buffer.fill(0)
}
