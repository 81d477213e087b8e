/** How often one uid may do something: `burst` at once, then `perSecond`. */
export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

/** One bucket for each uid (the classic token bucket; nothing to do with session tokens). */
export interface RatePerUid {
  /**
   * @param uid undefined: of those whose user the kernel does not name, who share one bucket
   * @returns 0 if it was taken, else in how many whole seconds one can be taken again
   */
  take(uid: number | undefined): number
  /** Uids remembered now. */
  readonly size: number
}

interface Bucket {
  left: number
  atMs: number
}

/** Uids remembered at once, besides root: some 400 KiB at most. */
const UIDS_MAX = 4096
const SWEEP_MS = 1000
// A bucket is refilled in fractions; this much may be missing to a whole by rounding.
const ROUNDING = 1e-9

/**
 * A bucket that is full again is forgotten: it is what a new one would be. One user may own 65,536
 * uids (subuid(5)), so the table can be filled on purpose; whoever finds it full shares one bucket
 * with the others who did. Root always has its own: it must be able to look after the rest.
 *
 * @param clockMs a clock that never jumps
 */
export function ratePerUid(rate: Rate, clockMs: () => number, uidsMax = UIDS_MAX): RatePerUid {
  const newBucket = (): Bucket => ({ left: rate.burst, atMs: clockMs() })
  const buckets = new Map<number, Bucket>()
  const root = newBucket()
  const nameless = newBucket()
  const shared = newBucket()
  let sweptAtMs = Number.NEGATIVE_INFINITY

  const sweep = (nowMs: number): void => {
    if (nowMs - sweptAtMs < SWEEP_MS) return
    sweptAtMs = nowMs
    for (const [uid, bucket] of buckets) {
      refill(bucket, rate, nowMs)
      if (bucket.left >= rate.burst) buckets.delete(uid)
    }
  }
  const bucketOf = (uid: number | undefined, nowMs: number): Bucket => {
    if (uid === undefined) return nameless
    if (uid === 0) return root
    const known = buckets.get(uid)
    if (known !== undefined) return known
    if (buckets.size >= uidsMax) sweep(nowMs)
    if (buckets.size >= uidsMax) return shared
    const bucket = newBucket()
    buckets.set(uid, bucket)
    return bucket
  }
  return {
    take: (uid) => {
      const nowMs = clockMs()
      const bucket = bucketOf(uid, nowMs)
      refill(bucket, rate, nowMs)
      const missing = 1 - ROUNDING - bucket.left
      if (missing > 0) return Math.ceil(missing / rate.perSecond)
      bucket.left -= 1
      return 0
    },
    get size() {
      return buckets.size
    },
  }
}

function refill(bucket: Bucket, rate: Rate, nowMs: number): void {
  const gained = ((nowMs - bucket.atMs) / 1000) * rate.perSecond
  bucket.left = Math.min(rate.burst, bucket.left + gained)
  bucket.atMs = nowMs
}
