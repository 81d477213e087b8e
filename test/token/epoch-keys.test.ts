import { createHmac, hkdfSync } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import { Secret } from '../../src/secret.ts'
import type { DeriveRoots } from '../../src/token/derive-key.ts'
import { epochKeys } from '../../src/token/epoch-keys.ts'

const HOUR_MS = 3_600_000
const CONTEXT = Buffer.alloc(32, 'context')
const SALT = Buffer.alloc(32, 'salt')

/** RK and BK as software keys; whatever is asked of them is written down. */
function roots(bootSecret = 'boot') {
  const asked: string[][] = []
  const state = { bootSecret, fails: false }
  const derive: DeriveRoots = async (messages) => {
    if (state.fails) throw new MetabindError('TPM_ABSENT')
    asked.push(messages.map((message) => message.toString('hex')))
    return messages.map((message) => ({
      fromRoot: createHmac('sha256', 'root').update(message).digest(),
      fromBoot: createHmac('sha256', state.bootSecret).update(message).digest(),
    }))
  }
  return { state, asked, derive }
}

function bench(startHour = 0) {
  const clock = { ms: startHour * HOUR_MS }
  const { state, asked, derive } = roots()
  const keys = epochKeys(derive, CONTEXT, new Secret(SALT), () => clock.ms)
  const held = () => Array.from({ length: 200 }, (_, at) => at).filter((at) => keys.key(at))
  const epochsAsked = () => asked.at(-1)?.map((message) => Number.parseInt(message.slice(-16), 16))
  return { clock, state, keys, held, asked, epochsAsked }
}

function span(first: number, last: number): number[] {
  return Array.from({ length: last + 1 - first }, (_, at) => first + at)
}

describe('the hours that have a key', () => {
  test.each([
    [0, 0, span(0, 1)],
    [0, 3_599_999, span(0, 1)],
    [1, 0, span(0, 2)],
    [5, 0, span(0, 6)],
    [6, 0, span(0, 7)],
    [7, 0, span(1, 8)],
    [7, 3_599_999, span(1, 8)],
    [100, 1_800_000, span(94, 101)],
  ])('in hour %i, %i ms in: %j', async (hour, ms, expected) => {
    const { clock, keys, held } = bench(hour)
    clock.ms += ms
    expect(held()).toEqual([])
    await keys.refresh()
    expect(held()).toEqual(expected)
  })

  test('hour by hour the next is derived and the one that is over is wiped', async () => {
    const { clock, keys, held, epochsAsked } = bench(50)
    await keys.refresh()
    expect(epochsAsked()).toEqual(span(44, 51))
    for (let hour = 51; hour < 60; hour += 1) {
      const over = keys.key(hour - 7)
      expect(over?.equals(Buffer.alloc(32))).toBe(false)
      clock.ms = hour * HOUR_MS
      expect(keys.isCurrent()).toBe(false)
      await keys.refresh()
      expect(keys.isCurrent()).toBe(true)
      expect(held()).toEqual(span(hour - 6, hour + 1))
      // The witness, and the one that was missing.
      expect(epochsAsked()).toEqual([44, hour + 1])
      expect(over).toEqual(Buffer.alloc(32))
    }
  })

  test('a suspend of days costs one derivation', async () => {
    const { clock, keys, held, asked } = bench(3)
    await keys.refresh()
    clock.ms += 100 * HOUR_MS
    expect(keys.isCurrent()).toBe(false)
    await keys.refresh()
    expect(held()).toEqual(span(97, 104))
    expect(asked).toHaveLength(2)
  })

  test('when nothing is missing, the witness alone is asked for', async () => {
    const { keys, epochsAsked } = bench(9)
    await keys.refresh()
    await keys.refresh()
    expect(epochsAsked()).toEqual([3])
  })
})

test('a key stays the same buffer for its life', async () => {
  const { clock, keys } = bench(20)
  await keys.refresh()
  const key = keys.key(20)
  const copy = Buffer.from(key ?? '')
  clock.ms += HOUR_MS
  await keys.refresh()
  expect(keys.key(20)).toBe(key)
  expect(key).toEqual(copy)
})

test('every hour has another key, made of both roots and the salt by HKDF-SHA-256', async () => {
  const { keys, held } = bench(100)
  await keys.refresh()
  const all = held().map((epoch) => keys.key(epoch)?.toString('hex'))
  expect(new Set(all).size).toBe(8)
  for (const epoch of held()) {
    const counter = Buffer.alloc(8)
    counter.writeUInt32BE(epoch, 4)
    const message = Buffer.concat([Buffer.from('metabind token key v1'), CONTEXT, counter])
    const material = ['root', 'boot'].map((secret) =>
      createHmac('sha256', secret).update(message).digest(),
    )
    const key = hkdfSync('sha256', Buffer.concat(material), SALT, 'metabind token key v1', 32)
    expect(keys.key(epoch)).toEqual(Buffer.from(key))
  }
})

describe('when the TPM is not what it was', () => {
  test('another one is told by the key of the first hour, and the keys stay as they were', async () => {
    const { clock, state, keys, held } = bench(10)
    await keys.refresh()
    const before = held().map((epoch) => keys.key(epoch)?.toString('hex'))
    state.bootSecret = 'another boot'
    clock.ms += HOUR_MS
    await expect(keys.refresh()).rejects.toMatchObject({ code: 'TPM_OTHER' })
    expect(held().map((epoch) => keys.key(epoch)?.toString('hex'))).toEqual(before)
    state.bootSecret = 'boot'
    await keys.refresh()
    expect(held()).toEqual(span(5, 12))
  })

  test('one that fails leaves the keys as they were', async () => {
    const { clock, state, keys, held } = bench(10)
    await keys.refresh()
    clock.ms += 2 * HOUR_MS
    state.fails = true
    await expect(keys.refresh()).rejects.toMatchObject({ code: 'TPM_ABSENT' })
    expect(held()).toEqual(span(4, 11))
  })

  test('the witness outlives the key of its hour', async () => {
    const { clock, state, keys } = bench(0)
    await keys.refresh()
    clock.ms = 100 * HOUR_MS
    await keys.refresh()
    expect(keys.key(0)).toBeUndefined()
    state.bootSecret = 'another boot'
    await expect(keys.refresh()).rejects.toMatchObject({ code: 'TPM_OTHER' })
  })
})

test('clear wipes every key', async () => {
  const { keys, held } = bench(30)
  await keys.refresh()
  const all = held().map((epoch) => keys.key(epoch))
  expect(all).toHaveLength(8)
  keys.clear()
  for (const key of all) expect(key).toEqual(Buffer.alloc(32))
  expect(held()).toEqual([])
  expect(keys.isCurrent()).toBe(false)
})

test('what the TPM answered is wiped', async () => {
  const { derive } = roots()
  const answers: Buffer[] = []
  const spied: DeriveRoots = async (messages) => {
    const values = await derive(messages)
    answers.push(...values.flatMap(({ fromRoot, fromBoot }) => [fromRoot, fromBoot]))
    return values
  }
  const keys = epochKeys(spied, CONTEXT, new Secret(SALT), () => 10 * HOUR_MS)
  await keys.refresh()
  expect(answers).toHaveLength(16)
  for (const answer of answers) expect(answer).toEqual(Buffer.alloc(32))
})

describe('while keys are being derived', () => {
  /** Keys whose TPM answers when it is told to. */
  function slowBench(startHour: number) {
    const clock = { ms: startHour * HOUR_MS }
    const { derive } = roots()
    const waiting: (() => void)[] = []
    const slow: DeriveRoots = async (messages) => {
      await new Promise<void>((resolve) => waiting.push(resolve))
      return derive(messages)
    }
    const keys = epochKeys(slow, CONTEXT, new Secret(SALT), () => clock.ms)
    const answer = async () => {
      while (waiting.length === 0) await setImmediate()
      waiting.shift()?.()
    }
    return { clock, keys, answer }
  }

  test('others wait, though the hour ends meanwhile: it is one TPM', async () => {
    const { clock, keys, answer } = slowBench(10)
    const first = keys.refresh()
    await setImmediate()
    clock.ms += HOUR_MS
    const second = keys.refresh()
    await answer()
    await first
    await answer()
    await second
    expect(keys.isCurrent()).toBe(true)
  })

  test('one that fails is no failure of the next one', async () => {
    const { derive } = roots()
    let asked = 0
    const failingOnce: DeriveRoots = async (messages) => {
      asked += 1
      if (asked === 1) throw new MetabindError('TPM_ABSENT')
      return derive(messages)
    }
    const keys = epochKeys(failingOnce, CONTEXT, new Secret(SALT), () => 0)
    const [failing, next] = [keys.refresh(), keys.refresh()]
    await expect(failing).rejects.toMatchObject({ code: 'TPM_ABSENT' })
    await next
    expect(keys.count).toBe(2)
  })

  test('all keys are wiped: what comes then is not held', async () => {
    const { keys, answer } = slowBench(0)
    const refreshed = keys.refresh()
    await setImmediate()
    keys.clear()
    await answer()
    await refreshed
    expect(keys.count).toBe(0)
  })
})

test('a TPM that answers less than it was asked is refused, and what it answered is not used', async () => {
  const { derive } = roots()
  const answers = { most: 0 }
  const short: DeriveRoots = async (messages) => (await derive(messages)).slice(0, answers.most)
  const keys = epochKeys(short, CONTEXT, new Secret(SALT), () => 0)
  await expect(keys.refresh()).rejects.toMatchObject({ code: 'INTERNAL' })
  expect(keys.count).toBe(0)
  answers.most = 1
  await keys.refresh()
  expect([keys.count, keys.isCurrent()]).toEqual([1, false])
})
