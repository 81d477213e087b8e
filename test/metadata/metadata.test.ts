import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BACKOFF_MS, BACKOFF_MS_MAX } from '../../src/metadata/backoff.ts'
import { ROLE_LIST_MS } from '../../src/metadata/metadata.ts'
import { ofPath } from '../../src/metadata/target.ts'
import type { Fault } from '../../src/simulate/faults.ts'
import { ANSWER_WITHIN_MS, type CachedSource, cachedSource, HOUR, MINUTE } from './cached-source.ts'

const ID = '/latest/meta-data/instance-id'
const HOSTNAME = '/latest/meta-data/hostname'
const ROLE = '/latest/meta-data/ram/security-credentials/app'
const ROLES = '/latest/meta-data/ram/security-credentials'
const SPOT = '/latest/meta-data/instance/spot/termination-time'
const PKCS7 = '/latest/dynamic/instance-identity/pkcs7'
const ABSENT = '/latest/meta-data/no-such'
const OUTAGE: Fault = { kind: 'reset' }

let world: CachedSource
beforeEach(async () => {
  world = await cachedSource()
})
afterEach(() => world.stop())

/** What a reader gets: body (undefined for 404), verdict and age; or the code of the refusal. */
async function read(path: string, query?: string, fresh?: boolean) {
  try {
    const { item, cache, ageSeconds } = await world.metadata.read(
      { path, query },
      {
        fresh: fresh === true,
      },
    )
    return { body: item?.body.toString(), cache, ageSeconds }
  } catch (error) {
    return { code: (error as { code?: string }).code }
  }
}

const expirationOf = (body: string | undefined) => Date.parse(JSON.parse(body ?? '{}').Expiration)

/** Waits for what the cache does behind an answer. */
async function until(holds: () => boolean): Promise<void> {
  for (let waits = 0; waits < 6000 && !holds(); waits += 1) await sleep(10)
  expect(holds()).toBe(true)
}

describe('lifetimes', () => {
  test('a value of the boot is asked for once', async () => {
    const body = world.simulator.instanceId
    expect(await read(ID)).toEqual({ body, cache: 'miss', ageSeconds: 0 })
    world.clocks.pass(300 * 24 * HOUR + 1999)
    const ageSeconds = 300 * 24 * 3600 + 1
    expect(await read(ID)).toEqual({ body, cache: 'hit', ageSeconds })
    expect(world.reads(ID)).toBe(1)
  })

  test('a short-lived value is asked for again after 30 s, and not before', async () => {
    await read(HOSTNAME)
    world.clocks.pass(29_999)
    expect(await read(HOSTNAME)).toMatchObject({ cache: 'hit', ageSeconds: 29 })
    world.clocks.pass(1)
    expect(await read(HOSTNAME)).toMatchObject({ cache: 'miss', ageSeconds: 0 })
    expect(world.reads(HOSTNAME)).toBe(2)
  })

  test('the lot makes it up to a fifth shorter', async () => {
    world.clocks.drawn = 1
    await read(HOSTNAME)
    world.clocks.pass(23_999)
    expect(await read(HOSTNAME)).toMatchObject({ cache: 'hit' })
    world.clocks.pass(1)
    expect(await read(HOSTNAME)).toMatchObject({ cache: 'miss' })
  })

  test('that there is no such path holds for 10 s', async () => {
    expect(await read(ABSENT)).toEqual({ body: undefined, cache: 'miss', ageSeconds: 0 })
    world.clocks.pass(9999)
    expect(await read(ABSENT)).toEqual({ body: undefined, cache: 'hit', ageSeconds: 9 })
    world.clocks.pass(1)
    expect(await read(ABSENT)).toMatchObject({ cache: 'miss' })
  })

  test('that no release is scheduled holds for 2 s', async () => {
    await read(SPOT)
    world.clocks.pass(1999)
    expect(await read(SPOT)).toEqual({ body: undefined, cache: 'hit', ageSeconds: 1 })
    world.clocks.pass(1)
    expect(await read(SPOT)).toMatchObject({ cache: 'miss' })
  })

  test('an address that somebody polls for each second is there two polls later', async () => {
    const at = (rest: string) => `/latest/meta-data/network/interfaces/macs/${rest}`
    const mac = (await read('/latest/meta-data/mac')).body
    for (const [path, before] of [
      [at(`${mac}/private-ipv4s`), { code: 404 }],
      [at(`${mac}/ipv6s`), { code: 200, body: '["192.0.2.1"]' }],
      ['/latest/meta-data/network/interfaces/macs', { code: 200, body: 'others/' }],
      ['/latest/meta-data/sub-private-ipv4-list', { code: 404 }],
    ] as const) {
      world.simulator.faults.set({ kind: 'status', path, ...before })
      for (let polls = 0; polls < 33; polls += 1) {
        await read(path)
        world.clocks.pass(1000)
      }
      world.simulator.faults.clear()
      const late: string[] = []
      for (let polls = 0; polls < 10; polls += 1) {
        const { body } = await read(path)
        if (body === before.body) late.push(path)
        world.clocks.pass(1000)
      }
      expect(late.length).toBeLessThanOrEqual(2)
    }
  })

  test('an answer for an audience is never kept; one without is', async () => {
    for (const _ of [1, 2]) expect(await read(PKCS7, 'audience=a')).toMatchObject({ cache: 'miss' })
    expect(world.reads(`${PKCS7}?audience=a`)).toBe(2)
    expect([world.cachedCount(), world.metadata.state.entries]).toEqual([0, 0])
    expect(await read(PKCS7)).toMatchObject({ cache: 'miss' })
    expect(await read(PKCS7)).toMatchObject({ cache: 'hit' })
  })

  test('a value of the boot that is no line of text is refused and not kept', async () => {
    for (const fault of [{ kind: 'empty' }, { kind: 'garbage', at: 'body' }] as const) {
      world.simulator.faults.set({ ...fault, path: ID, times: 1 })
      expect(await read(ID)).toEqual({ code: 'SOURCE_NONSENSE' })
      world.clocks.pass(2 * BACKOFF_MS)
    }
    expect(await read(ID)).toMatchObject({ body: world.simulator.instanceId, cache: 'miss' })
  })

  test('what has ended leaves the memory without being asked for', async () => {
    await read(HOSTNAME)
    await read(ABSENT)
    world.clocks.pass(HOUR)
    world.metadata.turn()
    expect(world.metadata.state.entries).toBe(1)
    world.clocks.pass(23 * HOUR)
    world.metadata.turn()
    expect([world.metadata.state.entries, world.metadata.state.bytes]).toEqual([0, 0])
  })

  test('the bytes are those of the source', async () => {
    await world.stop()
    const userData = Buffer.from([0, 255, 10, 13, 0x1f, 0x8b])
    world = await cachedSource({ userData })
    for (const cache of ['miss', 'hit']) {
      const answered = await world.metadata.read(ofPath('/latest/user-data'))
      expect(answered.cache).toBe(cache)
      expect(answered.item?.body.equals(userData)).toBe(true)
    }
  })
})

describe('single flight', () => {
  test('a thousand readers of one path make one read, and each gets the answer', async () => {
    const answers = await Promise.all(Array.from({ length: 1000 }, () => read(HOSTNAME)))
    expect(world.reads(HOSTNAME)).toBe(1)
    expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
    expect(answers.every(({ cache }) => cache === 'miss')).toBe(true)
  })

  test('those who ask for different audiences each get their own, at the same time', async () => {
    const audiences = Array.from({ length: 10 }, (_, at) => `a${at}`)
    const answers = await Promise.all(audiences.map((name) => read(PKCS7, `audience=${name}`)))
    const signed = answers.map(({ body = '' }) => Buffer.from(body, 'base64').toString('latin1'))
    for (const [at, name] of audiences.entries()) {
      expect(signed[at]).toContain(`"audience":"${name}"`)
    }
    expect(world.metadata.state.upstreamReads).toBe(10)
  })

  test('those who ask for the same audience share one', async () => {
    await Promise.all(Array.from({ length: 10 }, () => read(PKCS7, 'audience=a')))
    expect(world.metadata.state.upstreamReads).toBe(1)
  })

  test('an audience shares none with the path alone', async () => {
    const [plain, named] = await Promise.all([read(PKCS7), read(PKCS7, 'audience=a')])
    expect(plain?.body).not.toBe(named?.body)
    expect(await read(PKCS7)).toMatchObject({ body: plain?.body, cache: 'hit' })
  })

  test('whoever joins waits as long as the first, not longer', async () => {
    world.simulator.faults.set({ kind: 'latency', ms: 200, path: HOSTNAME })
    const answered: string[] = []
    const first = read(HOSTNAME).then(() => answered.push('first'))
    await sleep(100)
    const joined = read(HOSTNAME).then(() => answered.push('joined'))
    await first
    // In the same turn of the event loop: nothing else is waited for.
    await new Promise(setImmediate)
    expect(answered).toEqual(['first', 'joined'])
    await joined
    expect(world.reads(HOSTNAME)).toBe(1)
  })

  test('a thousand readers of a failing path make one read, and all are refused with its code', async () => {
    world.simulator.faults.set({ kind: 'status', code: 500, path: HOSTNAME })
    const answers = await Promise.all(Array.from({ length: 1000 }, () => read(HOSTNAME)))
    expect(answers).toEqual(Array(1000).fill({ code: 'SOURCE_DOWN' }))
    expect(await read(HOSTNAME)).toEqual({ code: 'SOURCE_DOWN' })
    expect(world.reads(HOSTNAME)).toBe(1)
  })

  test('nobody waits longer than the bound, and a late answer is used', async () => {
    await world.stop()
    world = await cachedSource({}, 3 * ANSWER_WITHIN_MS)
    world.simulator.faults.set({ kind: 'latency', ms: ANSWER_WITHIN_MS + 300, path: HOSTNAME })
    // Whoever waited for the answer would have it.
    expect(await read(HOSTNAME)).toEqual({ code: 'SOURCE_DOWN' })
    // It is still on its way, and not asked for twice.
    world.clocks.pass(2 * BACKOFF_MS)
    expect(await read(HOSTNAME)).toEqual({ code: 'SOURCE_DOWN' })
    await until(() => world.metadata.state.entries === 1)
    expect(await read(HOSTNAME)).toMatchObject({ cache: 'hit' })
    expect(world.reads(HOSTNAME)).toBe(1)
  })
})

describe('fresh', () => {
  test('asks the source although there is a good value, and the new one is kept', async () => {
    await read(ID)
    world.clocks.pass(5000)
    expect(await read(ID, undefined, true)).toMatchObject({ cache: 'miss', ageSeconds: 0 })
    expect(await read(ID)).toMatchObject({ cache: 'hit', ageSeconds: 0 })
    expect(world.reads(ID)).toBe(2)
  })

  test('together, they make one read', async () => {
    await read(ID)
    await Promise.all(Array.from({ length: 100 }, () => read(ID, undefined, true)))
    expect(world.reads(ID)).toBe(2)
  })

  test('costs its reader a miss, where it begins a read and not where it joins one', async () => {
    await read(ID)
    let misses = 0
    const onMiss = () => {
      misses += 1
    }
    const asked = Array.from({ length: 10 }, () =>
      world.metadata.read(ofPath(ID), { fresh: true, onMiss }),
    )
    await Promise.all(asked)
    expect(misses).toBe(1)
    await world.metadata.read(ofPath(ID), { fresh: true, onMiss })
    expect(misses).toBe(2)
    await world.metadata.read(ofPath(ID), { onMiss })
    expect(misses).toBe(2)
  })

  test('is refused by the miss limit before the source is asked', async () => {
    const onMiss = () => {
      throw new Error('too often')
    }
    const before = world.metadata.state.upstreamReads
    for (const path of [ID, ABSENT]) {
      await expect(async () =>
        world.metadata.read(ofPath(path), { fresh: true, onMiss }),
      ).rejects.toThrow('too often')
    }
    expect(world.metadata.state.upstreamReads).toBe(before)
  })

  test('asks although failures of late would keep others from asking', async () => {
    world.simulator.faults.set({ kind: 'reset', path: HOSTNAME, times: 2 })
    expect(await read(HOSTNAME)).toEqual({ code: 'SOURCE_DOWN' })
    expect(await read(HOSTNAME, undefined, true)).toMatchObject({ cache: 'miss' })
  })

  test('is refused rather than given an old answer', async () => {
    await read(ID)
    world.simulator.faults.set(OUTAGE)
    expect(await read(ID, undefined, true)).toEqual({ code: 'SOURCE_DOWN' })
    expect(await read(ID)).toMatchObject({ cache: 'hit' })
  })
})

describe('an outage', () => {
  const warm = [ID, HOSTNAME, ROLE, ROLES, '/latest/user-data']

  test('of ten minutes is not noticed by readers of what is cached', async () => {
    const before = new Map<string, string | undefined>()
    for (const path of warm) before.set(path, (await read(path)).body)
    world.simulator.faults.set(OUTAGE)
    for (let seconds = 0; seconds < 600; seconds += 5) {
      world.clocks.pass(5000)
      world.metadata.turn()
      for (const path of warm) {
        const answered = await read(path)
        expect(answered).toMatchObject({ body: before.get(path) })
        expect(answered).not.toHaveProperty('code')
      }
    }
    expect(await read(HOSTNAME)).toMatchObject({ cache: 'stale', ageSeconds: 600 })
    expect(await read(ID)).toMatchObject({ cache: 'hit' })
    expect(world.said).toEqual(['down'])
  })

  test('does not give out what ends while a reader waits for a newer one', async () => {
    await read(SPOT)
    world.clocks.pass(MINUTE - 1)
    world.simulator.faults.set({ kind: 'latency', ms: 100, path: SPOT })
    world.simulator.faults.set({ kind: 'status', code: 500, path: SPOT })
    const waiting = read(SPOT)
    await until(() => world.reads(SPOT) === 2)
    world.clocks.pass(1)
    expect(await waiting).toEqual({ code: 'SOURCE_DOWN' })
  })

  test('is noticed where an old answer would do harm: no word of a release after a minute', async () => {
    await read(SPOT)
    world.simulator.faults.set(OUTAGE)
    world.clocks.pass(59_999)
    expect(await read(SPOT)).toEqual({ body: undefined, cache: 'stale', ageSeconds: 59 })
    world.clocks.pass(1)
    expect(await read(SPOT)).toEqual({ code: 'SOURCE_DOWN' })
  })

  test('old values serve for a day and no longer', async () => {
    await read(HOSTNAME)
    world.simulator.faults.set(OUTAGE)
    world.clocks.pass(24 * HOUR - 1)
    expect(await read(HOSTNAME)).toMatchObject({ cache: 'stale' })
    world.clocks.pass(1)
    expect(await read(HOSTNAME)).toEqual({ code: 'SOURCE_DOWN' })
  })

  test('a source that hangs delays a reader who has an old answer by a quarter of a second', async () => {
    await read(HOSTNAME)
    world.clocks.pass(MINUTE)
    world.simulator.faults.set({ kind: 'stall' })
    const over: string[] = []
    // Timers of one process end in the order of their times, however late: the bound is a whole second.
    const whoHasNone = read(ABSENT).then(() => over.push('without'))
    const whoHasOld = read(HOSTNAME).then((answered) => {
      over.push('with')
      return answered
    })
    expect(await whoHasOld).toMatchObject({ cache: 'stale' })
    await whoHasNone
    expect(over).toEqual(['with', 'without'])
  })

  test('of a thousand readers of what is not cached, few ask; the others are told at once', async () => {
    world.simulator.faults.set({ kind: 'stall' })
    // Two paths that meet silence: the source is down.
    await Promise.all([read(ABSENT), read(HOSTNAME)])
    const asked = world.metadata.state.upstreamReads
    const paths = Array.from({ length: 1000 }, (_, at) => `/latest/meta-data/x${at}`)
    const answers = await Promise.all(paths.map((path) => read(path)))
    expect(answers).toEqual(Array(1000).fill({ code: 'SOURCE_DOWN' }))
    expect(world.metadata.state.upstreamReads).toBe(asked)
    await until(() => world.metadata.state.upstreamUnderWay === 0)
    // After the hold one of them tries, alone.
    world.clocks.pass(2 * BACKOFF_MS)
    await Promise.all(paths.map((path) => read(path)))
    expect(world.metadata.state.upstreamReads).toBe(asked + 1)
  })

  test('of one connection is not noticed at all', async () => {
    await read(ID)
    for (const by of ['fin', 'rst'] as const) {
      world.simulator.faults.set({ kind: 'reset', by, path: HOSTNAME, times: 1 })
      expect(await read(HOSTNAME, undefined, true)).toMatchObject({ cache: 'miss' })
    }
    const { upstreamReads, upstreamFailures } = world.metadata.state
    expect([upstreamReads, upstreamFailures]).toEqual([3, 0])
  })

  test('costs nobody a miss who is only told of it', async () => {
    world.simulator.faults.set({ kind: 'stall' })
    await Promise.all([read(ABSENT), read(HOSTNAME)])
    let misses = 0
    const onMiss = () => {
      misses += 1
    }
    for (const path of [ABSENT, HOSTNAME, ID]) {
      const asked = async () => world.metadata.read(ofPath(path), { onMiss })
      await expect(asked()).rejects.toThrow('does not answer')
    }
    expect(misses).toBe(0)
  })

  test('that begins while a read is under way keeps nobody from its answer', async () => {
    world.simulator.faults.set({ kind: 'latency', ms: 300, path: HOSTNAME })
    const first = read(HOSTNAME)
    await until(() => world.reads(HOSTNAME) === 1)
    for (const path of [ABSENT, ID]) world.simulator.faults.set({ kind: 'reset', path })
    for (const path of [ABSENT, ID]) expect(await read(path)).toEqual({ code: 'SOURCE_DOWN' })
    expect(world.said).toEqual(['down'])
    const second = await read(HOSTNAME)
    expect(second).toMatchObject({ cache: 'miss' })
    expect(second).toEqual(await first)
    expect(world.reads(HOSTNAME)).toBe(1)
  })

  test('does not take an old answer from who waits, if another took its place in the cache', async () => {
    const small = await cachedSource({}, ANSWER_WITHIN_MS, 1)
    try {
      await small.metadata.read(ofPath(HOSTNAME))
      small.clocks.pass(MINUTE)
      small.simulator.faults.set({ kind: 'stall', path: HOSTNAME })
      const waiting = small.metadata.read(ofPath(HOSTNAME))
      // It is missed more.
      await small.metadata.read(ofPath(ID))
      expect(small.metadata.snapshot().items.map(({ path }) => path)).toEqual([ID])
      expect(await waiting).toMatchObject({ cache: 'stale', ageSeconds: 60 })
    } finally {
      await small.stop()
    }
  })

  test('holds a path back only after the second connection was lost as well', async () => {
    world.simulator.faults.set({ kind: 'reset', path: HOSTNAME, times: 2 })
    expect(await read(HOSTNAME)).toEqual({ code: 'SOURCE_DOWN' })
    expect(await read(HOSTNAME)).toEqual({ code: 'SOURCE_DOWN' })
    expect(world.reads(HOSTNAME)).toBe(2)
    world.clocks.pass(2 * BACKOFF_MS)
    expect(await read(HOSTNAME)).toMatchObject({ cache: 'miss' })
  })

  test('one path that fails does not hold back the others', async () => {
    world.simulator.faults.set({ kind: 'status', code: 500, path: HOSTNAME })
    world.simulator.faults.set({ kind: 'status', code: 403, path: ABSENT })
    world.simulator.faults.set({ kind: 'reset', path: ROLE })
    for (const path of [HOSTNAME, ABSENT, ROLE]) {
      expect(await read(path)).toEqual({ code: 'SOURCE_DOWN' })
    }
    expect(await read(ID)).toMatchObject({ cache: 'miss' })
    expect(world.said).toEqual([])
  })

  test('while it lasts, the source is asked ever more seldom', async () => {
    await read(HOSTNAME)
    world.simulator.faults.set(OUTAGE)
    world.clocks.pass(MINUTE)
    const before = world.metadata.state.upstreamReads
    for (let seconds = 0; seconds < 600; seconds += 1) {
      world.clocks.pass(1000)
      await read(HOSTNAME)
      // On a busy machine a read may be late, and whoever reads meanwhile asks for nothing.
      while (world.metadata.state.upstreamUnderWay > 0) await new Promise(setImmediate)
    }
    const asked = world.metadata.state.upstreamReads - before
    expect(asked).toBeGreaterThan(600_000 / BACKOFF_MS_MAX / 1.3)
    expect(asked).toBeLessThan(80)
  })

  test('its end makes one read of each path, and readers get new answers', async () => {
    for (const path of warm) await read(path)
    world.simulator.faults.set(OUTAGE)
    world.clocks.pass(10 * MINUTE)
    for (const path of warm) await read(path)
    world.simulator.faults.clear()
    world.clocks.pass(2 * BACKOFF_MS_MAX)
    const before = world.reads()
    // The first finds the source up again; then everybody comes.
    await read(HOSTNAME)
    await Promise.all(
      Array.from({ length: 200 }, () => warm)
        .flat()
        .map((path) => read(path)),
    )
    expect(world.reads() - before).toBeLessThanOrEqual(warm.length)
    expect(await read(HOSTNAME)).toMatchObject({ cache: 'hit' })
    expect(world.said.at(-1)).toBe('up')
  })
})

describe('credentials', () => {
  test('are served with ages until half an hour before their end, without the source', async () => {
    const first = await read(ROLE)
    world.clocks.pass(5.5 * HOUR - 1)
    expect(await read(ROLE)).toEqual({ body: first.body, cache: 'hit', ageSeconds: 19_799 })
    expect(world.reads(ROLE)).toBe(1)
  })

  test('from then on a refresh follows behind the reader, who does not wait', async () => {
    const first = await read(ROLE)
    world.clocks.pass(5.5 * HOUR)
    expect(await read(ROLE)).toMatchObject({ body: first.body, cache: 'hit' })
    await until(() => world.metadata.state.upstreamReads === 2)
    await until(() => world.cachedCount() === 2)
    const second = await read(ROLE)
    expect(expirationOf(second.body)).toBe(expirationOf(first.body) + 5.5 * HOUR)
    expect(second).toMatchObject({ cache: 'hit', ageSeconds: 0 })
  })

  test('while that fails, the source is asked ever more seldom', async () => {
    await read(ROLE)
    world.clocks.pass(5.5 * HOUR + MINUTE)
    world.simulator.faults.set({ kind: 'status', code: 500, path: ROLE })
    for (let second = 0; second < 10; second += 1) {
      expect(await read(ROLE)).toMatchObject({ cache: 'hit' })
      await until(() => world.metadata.state.upstreamUnderWay === 0)
      world.clocks.pass(1000)
    }
    // By the lot after 0.75, 1.5, 3 and 6 s.
    expect(world.unrefreshed).toHaveLength(4)
  })

  for (const [left, asks] of [
    ['half an hour', 4],
    // Nobody is given these if there are better ones.
    ['a quarter of an hour', 10],
  ] as const) {
    test(`with ${left} left are asked for ${asks} times in 10 s while that fails, with nobody reading`, async () => {
      await read(ROLE)
      world.clocks.pass(6 * HOUR - (asks === 4 ? 29 : 14) * MINUTE)
      world.simulator.faults.set({ kind: 'status', code: 500, path: ROLE })
      for (let second = 0; second < 10; second += 1) {
        world.metadata.turn()
        await until(() => world.metadata.state.upstreamUnderWay === 0)
        world.clocks.pass(1000)
      }
      expect(world.unrefreshed).toHaveLength(asks)
    })
  }

  test('are held, and told to who asks what is held, and make no other value be looked after', async () => {
    await read(ID)
    world.metadata.turn()
    expect([world.metadata.state.upstreamUnderWay, world.metadata.state.upstreamReads]).toEqual([
      0, 1,
    ])
    const fetchedAtMs = world.clocks.bootMs
    await read(ROLE)
    world.clocks.pass(5.5 * HOUR)
    expect(world.metadata.held()).toContainEqual({
      path: ROLE,
      condition: 'refresh-soon',
      fetchedAtMs,
    })
  })

  test('are refreshed with nobody reading', async () => {
    await read(ROLE)
    world.clocks.pass(5.5 * HOUR - 1)
    world.metadata.turn()
    await sleep(50)
    expect(world.reads(ROLE)).toBe(1)
    world.clocks.pass(1)
    world.metadata.turn()
    await until(() => world.reads(ROLE) === 2)
  })

  test('the lot makes the refresh up to five minutes earlier', async () => {
    world.clocks.drawn = 1
    await read(ROLE)
    world.clocks.pass(5.5 * HOUR - 5 * MINUTE)
    world.metadata.turn()
    await until(() => world.reads(ROLE) === 2)
  })

  test('that the source does not renew yet are asked for once a minute, not at each read', async () => {
    world.clocks.drawn = 1
    await read(ROLE)
    world.clocks.pass(5.5 * HOUR - 5 * MINUTE)
    for (let at = 0; at < 50; at += 1) await read(ROLE)
    await until(() => world.cachedCount() === 2)
    for (let at = 0; at < 50; at += 1) await read(ROLE)
    expect(world.reads(ROLE)).toBe(2)
    world.clocks.pass(MINUTE)
    await read(ROLE)
    await until(() => world.reads(ROLE) === 3)
  })

  test('are asked for again as soon as an SDK would count them as stale, however lately before', async () => {
    await world.stop()
    // The cloud makes the next ones when 14 minutes are left.
    world = await cachedSource({ credentialLifetimeSeconds: 28 * 60 })
    await read(ROLE)
    world.clocks.pass(13 * MINUTE - 30_000)
    await read(ROLE)
    await until(() => world.metadata.state.upstreamReads === 2)
    await until(() => world.cachedCount() === 2)
    expect(world.reads(ROLE)).toBe(2)
    world.clocks.pass(30_000)
    expect(await read(ROLE)).toMatchObject({ cache: 'miss' })
    expect(world.reads(ROLE)).toBe(3)
    world.clocks.pass(MINUTE)
    const { body, cache } = await read(ROLE)
    expect(cache).toBe('miss')
    expect(expirationOf(body) - world.clocks.wallMs).toBe(28 * MINUTE)
  })

  test('with less life than an SDK counts as stale are not served while the source has better', async () => {
    const first = await read(ROLE)
    world.clocks.pass(6 * HOUR - 15 * MINUTE)
    const second = await read(ROLE)
    expect(second).toMatchObject({ cache: 'miss' })
    expect(second.body).not.toBe(first.body)
    expect(expirationOf(second.body) - world.clocks.wallMs).toBeGreaterThan(15 * MINUTE)
  })

  test('are served to their last second where the refresh fails, and not after it', async () => {
    const first = await read(ROLE)
    world.simulator.faults.set(OUTAGE)
    world.clocks.pass(6 * HOUR - 1)
    expect(await read(ROLE)).toMatchObject({ body: first.body, cache: 'stale' })
    expect(world.unrefreshed).toEqual([ROLE])
    // Nor is the source asked for them by each reader.
    expect(await read(ROLE)).toMatchObject({ body: first.body, cache: 'stale' })
    expect(world.unrefreshed).toEqual([ROLE])
    world.clocks.pass(1)
    expect(await read(ROLE)).toEqual({ code: 'SOURCE_DOWN' })
    world.metadata.turn()
    expect(world.metadata.state.entries).toBe(0)
  })

  for (const clock of ['wallMs', 'bootMs'] as const) {
    test(`that end by ${clock} while a reader waits for the refresh are not served`, async () => {
      await read(ROLE)
      world.clocks.pass(6 * HOUR - 1000)
      world.simulator.faults.set({ kind: 'latency', ms: 200, path: ROLE })
      world.simulator.faults.set({ kind: 'status', code: 500, path: ROLE })
      const waiting = read(ROLE)
      await until(() => world.reads(ROLE) === 2)
      world.clocks[clock] += 1000
      expect(await waiting).toEqual({ code: 'SOURCE_DOWN' })
    })
  }

  test('whose refresh hangs are served within the bound', async () => {
    const first = await read(ROLE)
    world.simulator.faults.set({ kind: 'stall' })
    world.clocks.pass(6 * HOUR - MINUTE)
    // The stall has no end of its own.
    expect(await read(ROLE)).toMatchObject({ body: first.body, cache: 'stale' })
  })

  test('that live shorter than the refresh takes do not make a read upstream each', async () => {
    await world.stop()
    world = await cachedSource({ credentialLifetimeSeconds: 60 })
    for (let at = 0; at < 200; at += 1) await read(ROLE)
    expect(world.reads(ROLE)).toBe(1)
    for (let seconds = 0; seconds < 300; seconds += 1) {
      world.clocks.pass(1000)
      expect((await read(ROLE)).body).toContain('Success')
    }
    expect(world.reads(ROLE)).toBeLessThanOrEqual(301)
  })

  test('older ones from another machine of the source do not take the place of better ones', async () => {
    const first = await read(ROLE)
    world.clocks.pass(MINUTE)
    world.simulator.faults.set({ kind: 'credentials', skewSeconds: -3600 })
    expect(await read(ROLE, undefined, true)).toMatchObject({ body: first.body })
  })

  const broken: readonly Fault[] = [
    { kind: 'status', code: 500 },
    { kind: 'stall' },
    { kind: 'stall', at: 'body' },
    { kind: 'reset' },
    { kind: 'truncate' },
    { kind: 'garbage' },
    { kind: 'garbage', at: 'body' },
    { kind: 'empty' },
    { kind: 'oversize' },
    { kind: 'credentials', expired: true },
    { kind: 'credentials', code: 'Failed' },
    { kind: 'credentials', missing: 'AccessKeyId' },
    { kind: 'credentials', missing: 'AccessKeySecret' },
    { kind: 'credentials', missing: 'SecurityToken' },
    { kind: 'credentials', missing: 'Expiration' },
    { kind: 'credentials', missing: 'LastUpdated' },
    { kind: 'credentials', missing: 'Code' },
  ]
  for (const fault of broken) {
    test(`${JSON.stringify(fault)}: cold refused, warm the old ones, expired refused`, async () => {
      const on = () => world.simulator.faults.set({ ...fault, path: ROLE })
      on()
      expect((await read(ROLE)).code).toMatch(/^SOURCE_(DOWN|NONSENSE|ROLE)$/)
      world.simulator.faults.clear()
      await until(() => world.metadata.state.upstreamUnderWay === 0)
      world.clocks.pass(2 * BACKOFF_MS)
      const { body } = await read(ROLE)
      expect(body).toContain('Success')
      on()
      world.clocks.pass(5 * HOUR + 50 * MINUTE)
      expect(await read(ROLE)).toMatchObject({ body, cache: 'stale' })
      world.clocks.pass(11 * MINUTE)
      expect((await read(ROLE)).code).toMatch(/^SOURCE_(DOWN|NONSENSE|ROLE)$/)
    })
  }
})

describe('a role that is taken from the instance or exchanged', () => {
  const OLD_VERSION = '/2016-01-01/meta-data/ram/security-credentials/app'
  const LISTS = [ROLES, `${ROLES}/`]
  const listReads = () => LISTS.reduce((sum, path) => sum + world.reads(path), 0)
  /** Until nothing is asked of the source any more. */
  const settled = async () => {
    await sleep(20)
    await until(() => world.metadata.state.upstreamUnderWay === 0)
  }

  for (const other of [undefined, 'other', 'app2', 'ap']) {
    test(`ends its credentials as soon as its list says ${other ?? 'nothing'}`, async () => {
      await read(ROLE)
      await read(OLD_VERSION)
      world.clocks.pass(MINUTE)
      world.simulator.setRole(other)
      await read(ROLES)
      await settled()
      expect(await read(ROLE)).toMatchObject({ body: undefined, cache: 'hit' })
      expect(await read(OLD_VERSION)).toMatchObject({ body: undefined, cache: 'hit' })
      expect(world.metadata.snapshot().items.map(({ path }) => path)).not.toContain(ROLE)
    })
  }

  test('ends them with nobody reading: the list is looked at each minute', async () => {
    await read(ROLE)
    world.metadata.turn()
    await settled()
    expect(listReads()).toBe(1)
    world.clocks.pass(ROLE_LIST_MS - 1)
    world.metadata.turn()
    await settled()
    expect(listReads()).toBe(1)
    world.simulator.setRole(undefined)
    world.clocks.pass(1)
    world.metadata.turn()
    await settled()
    expect(listReads()).toBe(2)
    expect(await read(ROLE)).toMatchObject({ body: undefined })
  })

  test('is looked for ever more seldom while its list cannot be read', async () => {
    await read(ROLE)
    world.simulator.faults.set({ kind: 'status', code: 500, path: ROLES })
    for (let second = 0; second < 10; second += 1) {
      world.metadata.turn()
      await until(() => world.metadata.state.upstreamUnderWay === 0)
      world.clocks.pass(1000)
    }
    // By the lot after 0.75, 1.5, 3 and 6 s.
    expect(listReads()).toBe(4)
  })

  test('ends them under every version as soon as one says 404', async () => {
    await read(ROLE)
    await read(OLD_VERSION)
    world.simulator.setRole(undefined)
    expect(await read(OLD_VERSION, undefined, true)).toMatchObject({ body: undefined })
    await settled()
    expect(await read(ROLE)).toMatchObject({ body: undefined })
  })

  test('not: a list in other lines that names it, and an answer for it under another version', async () => {
    await read(ROLE)
    await read(OLD_VERSION)
    const body = 'first\r\n app \r\nlast'
    world.simulator.faults.set({ kind: 'status', code: 200, body, path: ROLES, times: 1 })
    await read(ROLES)
    await read(ROLE, undefined, true)
    await settled()
    expect([world.reads(ROLE), world.reads(OLD_VERSION)]).toEqual([2, 1])
  })

  test('is written down: a new process has none of them', async () => {
    await read(ROLE)
    const before = world.cachedCount()
    world.simulator.setRole(undefined)
    await read(ROLE, undefined, true)
    expect(world.cachedCount()).toBeGreaterThan(before)
    expect(world.metadata.snapshot().items).toEqual([])
  })

  test('while no process ran ends them at the first look of the next', async () => {
    await read(ROLE)
    await read(ROLES)
    const kept = world.metadata.snapshot()
    world.simulator.setRole('other')
    world.clocks.pass(ROLE_LIST_MS)
    const later = world.another()
    later.restore(kept)
    later.turn()
    await settled()
    await until(() => later.state.upstreamUnderWay === 0)
    expect(later.snapshot().items.map(({ path }) => path)).toEqual([ROLES])
  })

  test('but is there again ends nothing: the refresh has the last word', async () => {
    const first = await read(ROLE)
    world.simulator.faults.set({ kind: 'status', code: 404, path: ROLES, times: 1 })
    await read(ROLES)
    await settled()
    expect(world.reads(ROLE)).toBe(2)
    expect(await read(ROLE)).toMatchObject({ body: first.body, cache: 'hit' })
    for (let at = 0; at < 20; at += 1) await read(ROLE)
    expect(world.reads(ROLE)).toBe(2)
  })

  const ENDING: readonly Fault[] = [
    { kind: 'status', code: 403 },
    { kind: 'status', code: 410 },
    { kind: 'credentials', code: 'AssumeRoleUnauthorizedAccess' },
  ]
  const PASSING: readonly Fault[] = [
    { kind: 'status', code: 408 },
    { kind: 'status', code: 429 },
    { kind: 'status', code: 500 },
    { kind: 'reset' },
    { kind: 'garbage' },
    { kind: 'empty' },
  ]
  for (const [faults, ends] of [
    [ENDING, true],
    [PASSING, false],
  ] as const) {
    for (const fault of faults) {
      test(`${JSON.stringify(fault)} of its refresh ${ends ? 'ends them' : 'does not'}`, async () => {
        const { body } = await read(ROLE)
        world.simulator.faults.set({
          kind: 'status',
          code: 200,
          body: 'other',
          path: ROLES,
          times: 1,
        })
        world.simulator.faults.set({ ...fault, path: ROLE })
        await read(ROLES)
        await settled()
        expect(world.metadata.snapshot().items.some(({ path }) => path === ROLE)).toBe(!ends)
        // The credentials and the list came, and what is no longer there is written down as well.
        expect(world.cachedCount()).toBe(ends ? 3 : 2)
        const answered = await read(ROLE)
        if (ends) expect(answered.code).toMatch(/^SOURCE_/)
        else expect(answered).toMatchObject({ body })
      })
    }
  }

  test('whose refresh fails is asked for again soon, until the cloud says yes or no', async () => {
    await read(ROLE)
    world.simulator.setRole(undefined)
    world.simulator.faults.set({ kind: 'status', code: 500, path: ROLE, times: 1 })
    await read(ROLES)
    await settled()
    world.clocks.pass(2 * BACKOFF_MS)
    expect(await read(ROLE)).toMatchObject({ cache: 'hit' })
    await settled()
    expect(await read(ROLE)).toMatchObject({ body: undefined })
  })

  test('but whose refresh brings older ones, from another machine, is not doubted longer', async () => {
    const { body } = await read(ROLE)
    world.simulator.faults.set({ kind: 'credentials', skewSeconds: -3600, path: ROLE })
    world.simulator.faults.set({ kind: 'status', code: 404, path: ROLES, times: 1 })
    await read(ROLES)
    await settled()
    world.clocks.pass(2 * MINUTE)
    expect(await read(ROLE)).toMatchObject({ body, cache: 'hit' })
    await settled()
    expect(world.reads(ROLE)).toBe(2)
  })

  test('whose refresh is refused while a reader waits for it: that reader is refused as well', async () => {
    await read(ROLE)
    world.clocks.pass(5 * HOUR + 50 * MINUTE)
    const code = 'AssumeRoleUnauthorizedAccess'
    world.simulator.faults.set({ kind: 'latency', ms: 300, path: ROLE, times: 1 })
    world.simulator.faults.set({ kind: 'credentials', code, path: ROLE })
    const waiting = read(ROLE)
    await until(() => world.reads(ROLE) === 2)
    world.simulator.faults.set({ kind: 'status', code: 404, path: ROLES, times: 1 })
    await read(ROLES)
    expect(await waiting).toEqual({ code: 'SOURCE_ROLE' })
  })

  test('without doubt, a refused refresh ends nothing: they are good to their end', async () => {
    const { body } = await read(ROLE)
    world.simulator.faults.set({ kind: 'credentials', code: 'Failed', path: ROLE })
    world.clocks.pass(5 * HOUR + 50 * MINUTE)
    expect(await read(ROLE)).toMatchObject({ body, cache: 'stale' })
  })
})

describe('a role that the cloud gives no credentials for', () => {
  const CODE = 'AssumeRoleUnauthorizedAccess'

  test('is told once, with its Code, to readers, to whoever logs and in the state', async () => {
    world.simulator.faults.set({ kind: 'credentials', code: CODE, path: ROLE })
    for (let seconds = 0; seconds < 100; seconds += 1) {
      const error: unknown = await Promise.resolve(world.metadata.read(ofPath(ROLE))).catch(
        (thrown: unknown) => thrown,
      )
      expect(error).toMatchObject({ code: 'SOURCE_ROLE', roleCode: CODE })
      world.clocks.pass(1000)
    }
    expect(world.reads(ROLE)).toBeGreaterThan(50)
    expect(world.refusedRoles).toEqual([[ROLE, CODE]])
    expect(world.metadata.state.refusedRoles).toEqual([{ path: ROLE, code: CODE }])
    expect(world.unusable).toEqual([])
  })

  test('is told again with another Code, and when it gives them', async () => {
    for (const code of [CODE, 'Failed']) {
      world.simulator.faults.clear()
      world.simulator.faults.set({ kind: 'credentials', code, path: ROLE })
      expect(await read(ROLE)).toEqual({ code: 'SOURCE_ROLE' })
      world.clocks.pass(2 * BACKOFF_MS)
    }
    world.simulator.faults.clear()
    expect(await read(ROLE)).toHaveProperty('body')
    expect(world.refusedRoles).toEqual([
      [ROLE, CODE],
      [ROLE, 'Failed'],
      [ROLE, undefined],
    ])
    expect(world.metadata.state.refusedRoles).toEqual([])
  })

  test('is not told with what is no word', async () => {
    for (const code of ['two words', '\u001b[31m', 'x'.repeat(65), 'a\nb']) {
      world.simulator.faults.clear()
      world.simulator.faults.set({ kind: 'credentials', code, path: ROLE })
      await read(ROLE)
      world.clocks.pass(2 * BACKOFF_MS)
    }
    expect(world.refusedRoles).toEqual([[ROLE, 'unreadable']])
  })
})

test('other answers that cannot be used are told of, with their path; silence is the source’s', async () => {
  world.simulator.faults.set({ kind: 'garbage', path: HOSTNAME })
  world.simulator.faults.set({ kind: 'reset', path: SPOT })
  for (let minutes = 0; minutes < 10; minutes += 1) {
    for (const path of [HOSTNAME, SPOT, ABSENT]) await read(path)
    world.clocks.pass(MINUTE)
  }
  expect(world.unusable).toEqual([HOSTNAME])
  world.simulator.faults.clear()
  await read(HOSTNAME)
  world.simulator.faults.set({ kind: 'status', code: 500, path: HOSTNAME })
  world.clocks.pass(25 * HOUR)
  await read(HOSTNAME)
  expect(world.unusable).toEqual([HOSTNAME, HOSTNAME])
})

describe('a wall clock that is set', () => {
  test('past the Expiration makes a refresh, and what comes is used where it still lives', async () => {
    const first = await read(ROLE)
    world.clocks.wallMs += 7 * HOUR
    world.clocks.cloudMs += 7 * HOUR
    const second = await read(ROLE)
    expect(second).toMatchObject({ cache: 'miss' })
    expect(second.body).not.toBe(first.body)
  })

  test('past the Expiration takes them from memory as soon as somebody asks', async () => {
    await read(ROLE)
    world.clocks.wallMs += 6 * HOUR
    world.simulator.faults.set(OUTAGE)
    expect(await read(ROLE)).toEqual({ code: 'SOURCE_DOWN' })
    expect(world.metadata.held()).toEqual([])
  })

  test('past the Expiration takes them from memory at the next turn', async () => {
    await read(ROLE)
    world.clocks.wallMs += 7 * HOUR
    world.metadata.turn()
    expect(world.metadata.state.entries).toBe(0)
  })

  test('wrongly past every Expiration gets no credentials: SDKs here would not use them', async () => {
    await read(ROLE)
    world.clocks.wallMs += 365 * 24 * HOUR
    expect(await read(ROLE)).toEqual({ code: 'SOURCE_NONSENSE' })
  })

  test('back does not prolong: after their life in boot time they are over', async () => {
    const first = await read(ROLE)
    world.simulator.faults.set(OUTAGE)
    world.clocks.wallMs -= 20 * HOUR
    world.clocks.pass(6 * HOUR - 1)
    expect(await read(ROLE)).toMatchObject({ body: first.body })
    world.clocks.pass(1)
    expect(await read(ROLE)).toEqual({ code: 'SOURCE_DOWN' })
  })

  test('back does not prolong although the source repeats them after their end', async () => {
    const first = await read(ROLE)
    world.clocks.wallMs -= 20 * HOUR
    world.clocks.cloudMs -= 20 * HOUR
    const { body = '' } = first
    world.simulator.faults.set({ kind: 'status', code: 200, body, path: ROLE })
    world.clocks.pass(6 * HOUR)
    for (const forget of [() => undefined, () => world.metadata.turn()]) {
      forget()
      expect(await read(ROLE)).toEqual({ code: 'SOURCE_NONSENSE' })
      world.clocks.pass(2 * BACKOFF_MS)
    }
    // Nor for a process that was started since.
    const later = world.another()
    later.restore(world.metadata.snapshot())
    const error: unknown = await Promise.resolve(later.read(ofPath(ROLE))).catch((e: unknown) => e)
    expect(error).toMatchObject({
      code: 'SOURCE_NONSENSE',
      detail: expect.stringContaining('older'),
    })
  })

  test('back does not prolong although other ones were seen in between', async () => {
    const { body = '' } = await read(ROLE)
    world.simulator.rotateCredentials()
    world.clocks.pass(MINUTE)
    await read(ROLE, undefined, true)
    world.clocks.wallMs -= 20 * HOUR
    world.simulator.faults.set({ kind: 'status', code: 200, body, path: ROLE })
    world.clocks.pass(6 * HOUR)
    expect(await read(ROLE)).toEqual({ code: 'SOURCE_NONSENSE' })
  })

  test('back does not prolong although the source repeats the same ones', async () => {
    await read(ROLE)
    world.clocks.wallMs -= 20 * HOUR
    world.clocks.bootMs += 3 * HOUR
    await read(ROLE, undefined, true)
    world.clocks.bootMs += 3 * HOUR - 1
    expect(await read(ROLE)).toHaveProperty('body')
    world.clocks.bootMs += 1
    world.simulator.faults.set(OUTAGE)
    expect(await read(ROLE)).toEqual({ code: 'SOURCE_DOWN' })
  })

  test('changes nothing for what is no credentials', async () => {
    await read(HOSTNAME)
    world.clocks.wallMs += 365 * 24 * HOUR
    expect(await read(HOSTNAME)).toMatchObject({ cache: 'hit', ageSeconds: 0 })
  })
})

describe('kept beyond the process', () => {
  test('values come back with their ages, from no source', async () => {
    const paths = [ID, HOSTNAME, ROLE]
    const bodies = await Promise.all(paths.map(async (path) => (await read(path)).body))
    await read(ABSENT)
    await read(PKCS7, 'audience=a')
    const kept = world.metadata.snapshot()
    expect(kept.items.map(({ path }) => path).toSorted()).toEqual([...paths].toSorted())
    world.simulator.faults.set(OUTAGE)
    world.clocks.pass(10 * MINUTE)
    const later = world.another()
    later.restore(kept)
    const answers = await Promise.all(paths.map(async (path) => later.read(ofPath(path))))
    expect(answers.map(({ item }) => item?.body.toString())).toEqual(bodies)
    expect(answers.map(({ cache, ageSeconds }) => [cache, ageSeconds])).toEqual([
      ['hit', 600],
      ['stale', 600],
      ['hit', 600],
    ])
  })

  test('values come back at the very time at which they were kept, in the order of their use', async () => {
    await read(ID)
    await read(ROLE)
    const later = world.another()
    later.restore(world.metadata.snapshot())
    expect(later.snapshot()).toEqual(world.metadata.snapshot())
  })

  test('credentials seen twice come back with the age of the second time and the life of the first', async () => {
    const { body } = await read(ROLE)
    world.clocks.wallMs -= 20 * HOUR
    world.clocks.pass(3 * HOUR)
    expect(await read(ROLE, undefined, true)).toMatchObject({ body, ageSeconds: 0 })
    world.clocks.pass(HOUR)
    const later = world.another()
    later.restore(world.metadata.snapshot())
    expect(await later.read(ofPath(ROLE))).toMatchObject({ cache: 'hit', ageSeconds: 3600 })
    world.simulator.faults.set(OUTAGE)
    world.clocks.pass(2 * HOUR - 1)
    expect(await later.read(ofPath(ROLE))).toMatchObject({ cache: 'stale' })
    world.clocks.pass(1)
    await expect(async () => later.read(ofPath(ROLE))).rejects.toThrow('does not answer')
  })

  test('what is of the future is of another clock, and is not taken over', async () => {
    await read(ID)
    await read(ROLE)
    const kept = world.metadata.snapshot()
    world.clocks.bootMs -= 1
    const later = world.another()
    later.restore(kept)
    expect(later.snapshot()).toEqual({ items: [], firstSeen: [] })
  })

  test('what has ended is not kept, though nothing has swept it out', async () => {
    await read(HOSTNAME)
    await read(ROLE)
    world.clocks.pass(24 * HOUR)
    expect(world.metadata.snapshot().items).toEqual([])
  })

  test('credentials that expired meanwhile do not, nor do values older than a day', async () => {
    await read(ROLE)
    await read(HOSTNAME)
    const kept = world.metadata.snapshot()
    world.clocks.pass(6 * HOUR)
    const sixHours = world.another()
    sixHours.restore(kept)
    expect(sixHours.snapshot().items.map(({ path }) => path)).toEqual([HOSTNAME])
    world.clocks.pass(18 * HOUR)
    const oneDay = world.another()
    oneDay.restore(kept)
    expect(oneDay.snapshot().items).toEqual([])
  })

  test('credentials and values of the boot come first: they are missed most', async () => {
    for (const path of [ROLE, ID, HOSTNAME, ROLES]) await read(path)
    const order = world.metadata.snapshot().items.map(({ path }) => path)
    expect(order).toEqual([ID, ROLE, ROLES, HOSTNAME])
  })

  test('a life in boot time goes on over the restart', async () => {
    await read(ROLE)
    world.clocks.wallMs -= 20 * HOUR
    world.clocks.pass(5 * HOUR)
    const later = world.another()
    later.restore(world.metadata.snapshot())
    world.simulator.faults.set(OUTAGE)
    world.clocks.pass(HOUR - 1)
    await expect(later.read(ofPath(ROLE))).resolves.toMatchObject({ cache: 'stale' })
    world.clocks.pass(1)
    await expect(async () => later.read(ofPath(ROLE))).rejects.toThrow('does not answer')
  })

  test('what this process has read itself is not replaced', async () => {
    await read(HOSTNAME)
    const [kept] = world.metadata.snapshot().items
    if (kept === undefined) throw new Error('nothing kept')
    world.clocks.pass(5000)
    const other = { ...kept, item: { ...kept.item, body: Buffer.from('other') } }
    world.metadata.restore({ items: [other], firstSeen: [] })
    expect((await read(HOSTNAME)).body).not.toBe('other')
  })
})

test('the counts are those of what happened', async () => {
  await read(HOSTNAME)
  await read(HOSTNAME)
  world.simulator.faults.set({ kind: 'status', code: 500 })
  world.clocks.pass(MINUTE)
  await read(HOSTNAME)
  const { hits, misses, stale, upstreamReads, upstreamFailures, entries } = world.metadata.state
  expect({ hits, misses, stale, upstreamReads, upstreamFailures, entries }).toEqual({
    hits: 1,
    misses: 1,
    stale: 1,
    upstreamReads: 2,
    upstreamFailures: 1,
    entries: 1,
  })
})
