import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RateError } from '../../src/errors.ts'
import { ratePerUid } from '../../src/rate-limit.ts'
import {
  keptForRoot,
  type LimitBounds,
  type LimitKind,
  type Limits,
  limits,
} from '../../src/relay/limits.ts'

function clock() {
  let nowMs = 1_000_000
  return {
    read: () => nowMs,
    pass: (seconds: number) => {
      nowMs += seconds * 1000
    },
  }
}

const BOUNDS: LimitBounds = {
  mints: { perSecond: 2, burst: 5 },
  misses: { perSecond: 0.5, burst: 3 },
  proofs: { perSecond: 1, burst: 4 },
  connections: 5,
  connectionsPerUid: 2,
}

/** How often in a row something is allowed, and what the first refusal says. */
function drain(take: () => void): { allowed: number; retryAfterSeconds: number } {
  for (let allowed = 0; ; allowed += 1) {
    try {
      take()
    } catch (error) {
      if (!(error instanceof RateError)) throw error
      return { allowed, retryAfterSeconds: error.retryAfterSeconds }
    }
  }
}

function newLimits() {
  const time = clock()
  const refused: LimitKind[] = []
  return { time, refused, limited: limits(BOUNDS, time.read, (kind) => refused.push(kind)) }
}

describe('tokens and misses', () => {
  test('a burst is allowed, then the refusal says when one is allowed again', () => {
    const { limited, refused } = newLimits()
    expect(drain(() => limited.requireMint(7))).toEqual({ allowed: 5, retryAfterSeconds: 1 })
    expect(drain(() => limited.requireMiss(7))).toEqual({ allowed: 3, retryAfterSeconds: 2 })
    expect(drain(() => limited.requireProof(7))).toEqual({ allowed: 4, retryAfterSeconds: 1 })
    expect(refused).toEqual(['mint', 'miss', 'proof'])
  })

  test('after the time in Retry-After one is allowed, a moment before it none', () => {
    const { limited, time } = newLimits()
    drain(() => limited.requireMiss(7))
    time.pass(1.999)
    expect(drain(() => limited.requireMiss(7)).allowed).toBe(0)
    time.pass(0.001)
    expect(drain(() => limited.requireMiss(7)).allowed).toBe(1)
  })

  test('in the long run the rate holds, and rest gives no more than the burst', () => {
    const { limited, time } = newLimits()
    drain(() => limited.requireMint(7))
    time.pass(2)
    expect(drain(() => limited.requireMint(7)).allowed).toBe(4)
    time.pass(3600)
    expect(drain(() => limited.requireMint(7)).allowed).toBe(5)
  })

  test('one uid at its limit leaves the others theirs, root too', () => {
    const { limited } = newLimits()
    drain(() => limited.requireMint(7))
    expect(drain(() => limited.requireMint(8)).allowed).toBe(5)
    expect(drain(() => limited.requireMint(0)).allowed).toBe(5)
    expect(drain(() => limited.requireMint(0)).allowed).toBe(0)
  })

  test('the error is LIMIT_RATE and names the limit', () => {
    const { limited } = newLimits()
    drain(() => limited.requireMint(7))
    expect(() => limited.requireMint(7)).toThrow(
      expect.objectContaining({ code: 'LIMIT_RATE', detail: 'mint' }),
    )
  })
})

describe('remembered uids', () => {
  const rate = { perSecond: 1, burst: 2 }

  test('there are never more than the bound; those beyond it share one bucket', () => {
    const perUid = ratePerUid(rate, clock().read, 3)
    for (const uid of [1, 2, 3]) expect(perUid.take(uid)).toBe(0)
    expect(perUid.take(4)).toBe(0)
    expect(perUid.take(5)).toBe(0)
    expect(perUid.take(6)).toBe(1)
    expect(perUid.size).toBe(3)
  })

  test('the uids that were remembered, and root, keep their own when the table is full', () => {
    const perUid = ratePerUid(rate, clock().read, 1)
    perUid.take(1)
    for (const uid of [2, 3, 4]) perUid.take(uid)
    expect(perUid.take(1)).toBe(0)
    expect(perUid.take(0)).toBe(0)
  })

  test('those whose user is not named have one bucket together, full table or not', () => {
    const perUid = ratePerUid(rate, clock().read, 1)
    for (const _ of [1, 2]) expect(perUid.take(undefined)).toBe(0)
    expect(perUid.take(undefined)).toBe(1)
    expect([perUid.take(1), perUid.take(2)]).toEqual([0, 0])
  })

  test('an idle one makes room once its bucket is full', () => {
    const time = clock()
    const perUid = ratePerUid(rate, time.read, 1)
    perUid.take(1)
    time.pass(1)
    perUid.take(2)
    // The shared bucket is empty after this; uid 2 has its own.
    for (const _ of [1, 2]) perUid.take(3)
    expect(perUid.take(3)).toBe(1)
    expect(perUid.take(2)).toBe(0)
    expect(perUid.size).toBe(1)
  })

  test('are 4096 besides root where nothing else is said', () => {
    const perUid = ratePerUid(rate, clock().read)
    for (let uid = 0; uid < 6000; uid += 1) perUid.take(uid)
    expect(perUid.size).toBe(4096)
  })

  test('are looked through once a second at most, as that takes time', () => {
    const time = clock()
    const perUid = ratePerUid({ perSecond: 4, burst: 2 }, time.read, 1)
    perUid.take(1)
    for (const _ of [1, 2]) perUid.take(2)
    time.pass(0.4)
    // The bucket of uid 1 is full again and not yet forgotten; what the others share has 1.6.
    expect([perUid.take(3), perUid.take(4)]).toEqual([0, 1])
    time.pass(0.6)
    expect([perUid.take(3), perUid.take(3), perUid.take(3)]).toEqual([0, 0, 1])
  })

  test('a bucket that is asked often while it fills loses nothing by rounding', () => {
    const time = clock()
    const perUid = ratePerUid({ perSecond: 0.1, burst: 1 }, time.read)
    perUid.take(1)
    const taken = Array.from({ length: 10 }, () => {
      time.pass(1)
      return perUid.take(1)
    })
    expect(taken).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
  })

  test('whatever happens, nobody gets more than burst and rate allow', () => {
    const steps = fc.array(
      fc.record({ uid: fc.integer({ min: 1, max: 5 }), pauseMs: fc.nat(900) }),
      { maxLength: 200 },
    )
    fc.assert(
      fc.property(steps, (taken) => {
        const time = clock()
        const perUid = ratePerUid(rate, time.read, 100)
        const got = new Map<number, number>()
        let passedMs = 0
        for (const { uid, pauseMs } of taken) {
          time.pass(pauseMs / 1000)
          passedMs += pauseMs
          if (perUid.take(uid) === 0) got.set(uid, (got.get(uid) ?? 0) + 1)
        }
        for (const count of got.values()) {
          expect(count).toBeLessThanOrEqual(rate.burst + (passedMs / 1000) * rate.perSecond + 1e-6)
        }
      }),
    )
  })
})

test('refusals are answered at once, until one uid has 200 of them', () => {
  const { limited, time } = newLimits()
  const pauses = Array.from({ length: 201 }, () => limited.pauseMs(7))
  expect(pauses).toEqual([...Array(200).fill(0), 100])
  expect(limited.pauseMs(8)).toBe(0)
  time.pass(1)
  expect(
    Array.from({ length: 51 }, () => limited.pauseMs(7)).filter((ms) => ms === 0),
  ).toHaveLength(50)
})

describe('connections', () => {
  const stays = (limited: Limits, uid: number | undefined, shares = 1) =>
    limited.admit(uid, shares) !== undefined

  test('a uid has its share, and a closed one can be opened again', () => {
    const { limited, refused } = newLimits()
    expect([7, 7, 7, 8].map((uid) => stays(limited, uid))).toEqual([true, true, false, true])
    limited.leave({ user: 7, shares: 1 })
    expect([7, 7].map((uid) => stays(limited, uid))).toEqual([true, false])
    expect(refused).toEqual(['connections', 'connections'])
  })

  test("a refusal says whose share was used up: the user's, or that of all", () => {
    const { limited, refused } = newLimits()
    const admitted = [7, 7, 7, 8, 8, 9, 9].map((uid) => stays(limited, uid))
    expect(admitted).toEqual([true, true, false, true, true, true, false])
    expect(refused).toEqual(['connections', 'total'])
  })

  test('those whose user is not named have no more than one user', () => {
    const { limited } = newLimits()
    expect([1, 2, 3].map(() => stays(limited, undefined))).toEqual([true, true, false])
  })

  const many = { ...BOUNDS, connections: 800, connectionsPerUid: 300 }
  const manyLimits = () => limits(many, clock().read, () => undefined)
  const admitted = (limited: Limits, uid: number | undefined, tries: number, isRoot = false) =>
    Array.from({ length: tries }, () => limited.admit(uid, 1, () => isRoot)).filter(
      (may) => may !== undefined,
    ).length

  test('some are kept for root, whatever the others take', () => {
    const limited = manyLimits()
    const others = [1, 2, 3, 4].map((uid) => admitted(limited, uid, 300))
    expect(others).toEqual([300, 300, 800 - keptForRoot(800) - 600, 0])
    expect(admitted(limited, undefined, 1)).toBe(0)
    expect(admitted(limited, 0, 300, true)).toBe(keptForRoot(800))
    limited.leave({ user: 1, shares: 1 })
    // What comes free is root's as long as it has no more free than that.
    expect(admitted(limited, 1, 1)).toBe(0)
    expect(admitted(limited, 0, 1, true)).toBe(1)
  })

  test('root of a container has none of what is kept, and cannot keep root of the host out', () => {
    const limited = manyLimits()
    expect(admitted(limited, 0, 800)).toBe(300)
    expect(admitted(limited, 0, 800, true)).toBe(keptForRoot(800))
    expect([admitted(limited, 7, 300), admitted(limited, 0, 1)]).toEqual([300, 0])
    limited.leave({ user: 'root', shares: 1 })
    expect([admitted(limited, 0, 1), admitted(limited, 0, 2, true)]).toEqual([0, 1])
  })

  test('of uid 0 nobody is root of the host if nothing says so', () => {
    const limited = manyLimits()
    const stay = Array.from({ length: 301 }, () => limited.admit(0) !== undefined)
    expect(stay.filter(Boolean)).toHaveLength(300)
  })

  test('whether it is root of the host is asked only of uid 0, and if others could not stay', () => {
    const limited = manyLimits()
    const asked: number[] = []
    const enter = (uid: number, shares: number) =>
      limited.admit(uid, shares, () => {
        asked.push(uid)
        return true
      })
    expect([enter(0, 300)?.user, enter(0, 1)?.user]).toEqual([0, 'root'])
    expect([enter(7, 301), asked]).toEqual([undefined, [0]])
  })

  test('as many are kept for root as it needs, and never all of them', () => {
    expect([1, 7, 8, 100, 512, 65_536].map(keptForRoot)).toEqual([0, 0, 1, 12, 64, 64])
  })

  test('those whose user is not named have a small share together', () => {
    const limited = manyLimits()
    expect(admitted(limited, undefined, 300)).toBe(64)
    expect(admitted(limited, 7, 300)).toBe(300)
    limited.leave({ user: undefined, shares: 1 })
    expect(admitted(limited, undefined, 2)).toBe(1)
  })

  test('one can count for several, of its user and of all', () => {
    const limited = manyLimits()
    const stay = [250, 51, 50].map((shares) => stays(limited, 7, shares))
    expect(stay).toEqual([true, false, true])
    limited.leave({ user: 7, shares: 250 })
    expect(admitted(limited, 7, 300)).toBe(250)
    expect([stays(limited, 8, 300), admitted(limited, 9, 300)]).toEqual([true, 136])
  })
})
