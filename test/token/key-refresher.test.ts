import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type ErrorCode, MetabindError } from '../../src/errors.ts'
import {
  type KeyRefresher,
  type KeyRefresherDeps,
  keyRefresher,
} from '../../src/token/key-refresher.ts'
import type { BoundKeys } from '../../src/token/keys.ts'

// Time is the test's: turns are seconds apart and intervals up to an hour.
const PROOF_MS = 10

let refresher: KeyRefresher | undefined
beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  refresher?.end()
  vi.useRealTimers()
})

/** Keys that are proven as often as asked, or fail with the next codes in turn. */
function bench(recheckMs: number) {
  const failures: ErrorCode[] = []
  const events: string[] = []
  const provenAtMs: number[] = []
  const state = { proofs: 0, current: true }
  const startMs = performance.now()
  const keys: Pick<BoundKeys, 'refresh' | 'isCurrent'> = {
    isCurrent: () => state.current,
    refresh: async () => {
      state.proofs += 1
      await new Promise((resolve) => setTimeout(resolve, PROOF_MS))
      provenAtMs.push(performance.now() - startMs)
      const code = failures.shift()
      if (code !== undefined) throw new MetabindError(code)
    },
  }
  const deps: KeyRefresherDeps = {
    // Only these two are called.
    keys: keys as BoundKeys,
    recheckMs,
    bootTimeMs: () => performance.now(),
    onStopped: (why) => void events.push(why.code),
    onResumed: () => void events.push('resumed'),
  }
  const made = keyRefresher(deps)
  refresher = made
  const check = async () => {
    const checked = made.check()
    await vi.advanceTimersByTimeAsync(5000)
    await checked
  }
  return { failures, events, state, provenAtMs, refresher: made, check }
}

test.each([1, 60, 3600])('the TPM is proven within every interval of %i s', async (seconds) => {
  const recheckMs = seconds * 1000
  const { provenAtMs } = bench(recheckMs)
  for (let turn = 0; turn < 1000; turn += 1) await vi.advanceTimersByTimeAsync(recheckMs / 100)
  const gaps = provenAtMs.map((ms, at) => ms - (provenAtMs[at - 1] ?? 0))
  expect(gaps.length).toBeGreaterThanOrEqual(9)
  for (const gap of gaps) expect(gap).toBeLessThanOrEqual(recheckMs + PROOF_MS)
  expect(gaps.length).toBeLessThanOrEqual(14)
})

test('keys that are not there for this hour are made at the next turn', async () => {
  const { state, provenAtMs } = bench(3_600_000)
  await vi.advanceTimersByTimeAsync(60_000)
  expect(provenAtMs).toEqual([])
  state.current = false
  await vi.advanceTimersByTimeAsync(15_000 + PROOF_MS)
  expect(provenAtMs).toHaveLength(1)
})

test('another TPM stops at once, and says so once', async () => {
  const { failures, events, state, refresher, check } = bench(60_000)
  failures.push('TPM_OTHER', 'TPM_OTHER', 'TPM_OTHER')
  await check()
  expect(refresher.stoppedBecause()?.code).toBe('TPM_OTHER')
  expect(state.proofs).toBe(1)
  await check()
  await check()
  expect(events).toEqual(['TPM_OTHER'])
})

test('a TPM that fails counts after three tries, and is good again after one', async () => {
  const { failures, events, state, refresher, check } = bench(60_000)
  failures.push('TPM_ABSENT', 'TPM_ABSENT')
  await check()
  expect(refresher.stoppedBecause()).toBeUndefined()
  expect(state.proofs).toBe(3)

  failures.push('TPM_ABSENT', 'TPM_FAULT', 'TPM_ABSENT')
  await check()
  expect(refresher.stoppedBecause()?.code).toBe('TPM_ABSENT')
  failures.push('TPM_HIERARCHY_AUTH')
  await check()
  expect(refresher.stoppedBecause()?.code).toBe('TPM_HIERARCHY_AUTH')
  await check()
  expect(refresher.stoppedBecause()).toBeUndefined()
  expect(events).toEqual(['TPM_ABSENT', 'TPM_HIERARCHY_AUTH', 'resumed'])
})

test('while stopped, the TPM is tried once at each turn until it is good', async () => {
  const { failures, events, state, check } = bench(3_600_000)
  failures.push('TPM_OTHER', 'TPM_FAULT', 'TPM_FAULT')
  await check()
  expect(state.proofs).toBe(1)
  await vi.advanceTimersByTimeAsync(15_000)
  expect(state.proofs).toBe(2)
  // Nobody waits for it: it is not tried again before the next turn.
  await vi.advanceTimersByTimeAsync(9000)
  expect(state.proofs).toBe(2)
  await vi.advanceTimersByTimeAsync(21_000 + PROOF_MS)
  expect(state.proofs).toBe(4)
  expect(events).toEqual(['TPM_OTHER', 'TPM_FAULT', 'resumed'])
  await vi.advanceTimersByTimeAsync(60_000)
  expect(state.proofs).toBe(4)
})

test('checks that are asked for together are one', async () => {
  const { state, check } = bench(60_000)
  await Promise.all([check(), check(), check()])
  expect(state.proofs).toBe(1)
})

test('after its end it says nothing more', async () => {
  const { failures, events, refresher } = bench(60_000)
  failures.push('TPM_OTHER')
  const checking = refresher.check()
  refresher.end()
  await vi.advanceTimersByTimeAsync(5000)
  await checking
  expect(events).toEqual([])
  expect(refresher.stoppedBecause()).toBeUndefined()
  expect(vi.getTimerCount()).toBe(0)
})

test('whatever a proof fails with stops the agent, as a fault of its own if it is no refusal', async () => {
  const refresh = () => Promise.reject(new RangeError('a fault of ours'))
  const stopped: MetabindError[] = []
  refresher = keyRefresher({
    keys: { isCurrent: () => true, refresh } as Partial<BoundKeys> as BoundKeys,
    recheckMs: 60_000,
    bootTimeMs: () => performance.now(),
    onStopped: (why) => void stopped.push(why),
    onResumed: () => undefined,
  })
  const checked = refresher.check()
  await vi.advanceTimersByTimeAsync(5000)
  await checked
  expect(stopped).toMatchObject([{ code: 'INTERNAL', cause: expect.any(RangeError) }])
})
