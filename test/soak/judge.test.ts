import { describe, expect, test } from 'vitest'
import { faultsIn, judgeLevels, lateSources, SERIES } from './judge.ts'
import { type Sample, seenIn } from './samples.ts'

const MIB = 2 ** 20
const BEGAN_MS = Date.UTC(2026, 0, 1)
const SAMPLE_MS = 10_000

function sampleAt(at: number, more: Partial<Sample> = {}): Sample {
  return {
    ...{
      kind: 'sample',
      at: BEGAN_MS + at * SAMPLE_MS,
      pid: 7,
      tpmCommands: at,
      requests: 100,
      load: 1,
    },
    process: {
      ...{ rssBytes: 100 * MIB, pssBytes: 90 * MIB, privateBytes: 80 * MIB },
      ...{ descriptors: 36, cpuSeconds: at / 10 },
    },
    heap: { heapUsed: (20 + (at % 6)) * MIB, external: MIB },
    tpm: { transient: at % 3, loadedSessions: 0, savedSessions: 0, persistent: 0 },
    latency: { all: { count: 100, p50: 1 + (at % 2), p99: 10 } },
    ...{ outcomes: { read: { 200: 100 } }, wrong: [], metrics: {} },
    ...more,
  }
}

const lines = (values: readonly object[]) => values.map((value) => JSON.stringify(value)).join('\n')
const event = (at: number, what: string, more: object = {}) => ({
  ...{ kind: 'event', at: BEGAN_MS + at * SAMPLE_MS, what },
  ...more,
})
const end = event(999, 'end', { code: 0 })
const samples = (of: (at: number) => Partial<Sample> = () => ({})) =>
  Array.from({ length: 180 }, (_, at) => sampleAt(at, of(at)))

describe('what is level', () => {
  const levels = (of?: (at: number) => Partial<Sample>) =>
    judgeLevels(seenIn(lines(samples(of))), 600_000).map(
      ({ series, verdict }) => [series.name, verdict] as const,
    )

  test('an agent that holds what it held', () => {
    const expected = SERIES.map(({ name, bound }) => [name, bound === 'none' ? 'told' : 'level'])
    expect(levels()).toEqual(expected)
  })

  test('not a heap whose feet rise, however it saws', () => {
    const rising = (at: number) => ({
      heap: { heapUsed: (20 + (at % 6) + at / 60) * MIB, external: 0 },
    })
    expect(levels(rising)).toContainEqual(['heap after collections', 'rises'])
  })

  test('not one descriptor in ten minutes', () => {
    const process = sampleAt(0).process
    const rising = (at: number) =>
      process === undefined
        ? {}
        : { process: { ...process, cpuSeconds: at / 10, descriptors: 36 + Math.floor(at / 60) } }
    expect(levels(rising)).not.toContainEqual(['descriptors', 'level'])
  })

  test('what was before it was warm counts for nothing', () => {
    const warming = (at: number) => ({
      heap: { heapUsed: (20 + Math.min(at, 50) + (at % 6)) * MIB, external: 0 },
    })
    expect(levels(warming)).toContainEqual(['heap after collections', 'level'])
  })

  test('an agent that was there for a short time is not judged', () => {
    expect(judgeLevels(seenIn(lines(samples().slice(0, 100))), 600_000)).toEqual([])
  })
})

describe('faults', () => {
  const faults = (...values: object[]) => faultsIn(seenIn(lines(values)))
  const reset = { outcomes: { read: { 200: 90, ECONNRESET: 2 } } }

  test('none in a run in which all were answered', () => {
    expect(faults(sampleAt(0), sampleAt(1), end)).toEqual([])
  })

  test('what a user knew to be wrong', () => {
    expect(faults(sampleAt(0, { wrong: ['expired: 200'] }), end)).toEqual(['expired: 200'])
  })

  test('not that a source was late, which is refused rightly and counted', () => {
    const late = sampleAt(0, {
      wrong: ['uid 1: then absent: 503 SOURCE_DOWN: It does not answer.'],
    })
    expect(faults(late, end)).toEqual([])
    expect(lateSources(seenIn(lines([late])))).toBe(1)
    const cached = sampleAt(0, {
      wrong: ['uid 1: then read: 503 SOURCE_DOWN: It does not answer.'],
    })
    expect(faults(cached, end)).toHaveLength(1)
  })

  test('a connection that broke, unless an agent was killed just then', () => {
    expect(faults(sampleAt(3, reset), end)).toEqual([expect.stringContaining('read: ECONNRESET')])
    expect(faults(event(2, 'SIGTERM'), sampleAt(3, reset), end)).toHaveLength(1)
    expect(faults(event(2, 'SIGKILL'), sampleAt(3, reset), end)).toEqual([])
    expect(faults(event(2, 'SIGKILL'), sampleAt(9, reset), end)).toHaveLength(1)
  })

  test('whoever passed by and was refused, unless all tokens were revoked just then', () => {
    const refused = { outcomes: { passing: { 200: 9, 401: 1 } } }
    expect(faults(sampleAt(3, refused), end)).toHaveLength(1)
    expect(faults(event(2, 'all revoked'), sampleAt(3, refused), end)).toEqual([])
  })

  test('an upgrade to another version than was laid, an agent that ends by itself, a run without an end', () => {
    const upgrade = event(1, 'upgrade', { version: '1.0.0', expected: '1.0.1' })
    expect(faults(upgrade, end)).toHaveLength(1)
    const died = { kind: 'error', at: BEGAN_MS, error: 'the agent ended by itself: 1' }
    expect(faults(sampleAt(0), died, end)).toHaveLength(1)
    expect(faults(sampleAt(0))).toEqual(['it has not ended'])
    expect(faults(sampleAt(0), event(2, 'end', { code: 1 }))).toHaveLength(1)
  })
})
