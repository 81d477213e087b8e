import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type ErrorCode, MetabindError } from '../../src/errors.ts'
import type { Enrolled } from '../../src/federation/enrol.ts'
import { type Membership, membership, type Standing } from '../../src/federation/membership.ts'
import { RegistrarDown, RegistrarRefusal } from '../../src/federation/registrar-errors.ts'

/** When an instance enrols, and what it takes from the answers: on a clock of the test's own. */

const HOUR_MS = 3_600_000
const LIFE_MS = 24 * HOUR_MS
const SUBJECT = 'aliyun:i-1'

type Said = Partial<Enrolled> | Error
let said: Said[]
let shown: number[]
let standings: Standing[]
let problems: (ErrorCode | undefined)[]
let member: Membership

function enrolled(more: Partial<Enrolled> = {}): Enrolled {
  const generation = shown.length
  const base = { subject: SUBJECT, state: 'active', generation } as const
  return { ...base, expiresAtMs: Date.now() + LIFE_MS, lifeMs: LIFE_MS, ...more }
}

function begin(kept?: { readonly generation: number; readonly expiresAtMs: number }): void {
  member = membership({
    enrol: async (generation) => {
      shown.push(generation)
      const next = said.length > 1 ? said.shift() : said[0]
      if (next instanceof Error) throw next
      return enrolled(next)
    },
    kept: kept && { url: 'https://r.example', iid: '01'.repeat(16), subject: SUBJECT, ...kept },
    keep: () => undefined,
    onStanding: (standing) => standings.push(standing),
    onAttempt: (problem) => problems.push(problem?.code),
    nowMs: Date.now,
    random: () => 0.5,
  })
  member.start()
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
  said = [{}]
  shown = []
  standings = []
  problems = []
})
afterEach(() => {
  member.end()
  vi.useRealTimers()
})

test('it enrols at the start, and again at half of the life with the generation that it was given', async () => {
  begin()
  expect(member.standing.is).toBe('waiting')
  await pass(1)
  expect(member.standing).toMatchObject({ is: 'enrolled', subject: SUBJECT, generation: 1 })
  await pass(LIFE_MS / 2 - 2)
  expect(shown).toEqual([0])
  await pass(10)
  expect(shown).toEqual([0, 1])
  // A renewal is nothing new.
  expect(standings.map(({ is }) => is)).toEqual(['enrolled'])
})

test('what an earlier process was told counts until the first answer, unless it is over', async () => {
  said = [new RegistrarDown()]
  begin({ generation: 7, expiresAtMs: Date.now() + HOUR_MS })
  await pass(1)
  expect([shown, member.standing.is]).toEqual([[7], 'enrolled'])
  member.end()
  begin({ generation: 7, expiresAtMs: Date.now() - 1 })
  expect(member.standing.is).toBe('waiting')
})

describe('an outage', () => {
  test('is ridden out with growing waits, of five minutes at most', async () => {
    said = [new RegistrarDown()]
    begin()
    await pass(60_000)
    const early = shown.length
    await pass(HOUR_MS)
    expect(early).toBeGreaterThan(4)
    expect(shown.length - early).toBeLessThan(20)
    expect(shown.length - early).toBeGreaterThan(10)
    said = [{}]
    await pass(300_000)
    expect(member.standing.is).toBe('enrolled')
    expect(member.problem).toBeUndefined()
  })

  test('does not end what is enrolled, and whatever fails counts as one', async () => {
    said = [{}, new MetabindError('TPM_FAULT'), new Error('ours'), {}]
    begin()
    await pass(LIFE_MS / 2 + 10)
    expect(member.standing.is).toBe('enrolled')
    expect(member.problem?.code).toBe('TPM_FAULT')
    await pass(60_000)
    expect(problems).toEqual([undefined, 'TPM_FAULT', 'INTERNAL', undefined])
  })

  test('lasts as long as the registrar says', async () => {
    said = [new RegistrarDown(undefined, 120_000), {}]
    begin()
    await pass(119_000)
    expect(shown).toHaveLength(1)
    await pass(5000)
    expect(shown).toHaveLength(2)
  })
})

describe('a refusal', () => {
  test.each<ErrorCode>(['ENROL_BANNED', 'ENROL_SUSPENDED', 'VERIFY_UNANCHORED'])(
    '%s is obeyed: it is told once, and asked again seldom',
    async (reason) => {
      said = [new RegistrarRefusal(reason)]
      begin()
      await pass(HOUR_MS)
      expect(member.standing).toEqual({ is: 'refused', reason })
      expect(standings).toHaveLength(1)
      expect(shown.length).toBeLessThan(6)
      said = [{}]
      await pass(HOUR_MS)
      expect(member.standing.is).toBe('enrolled')
    },
  )

  test.each<ErrorCode>(['ENROL_NONCE', 'ENROL_CHALLENGE', 'ENROL_LATE'])(
    '%s is of the attempt, and another one is made',
    async (reason) => {
      said = [new RegistrarRefusal(reason), {}]
      begin()
      await pass(2000)
      expect(member.standing.is).toBe('enrolled')
    },
  )

  test('one that is held asks each minute', async () => {
    said = [{ state: 'held' }, { state: 'held' }, {}]
    begin()
    await pass(1)
    expect(member.standing.is).toBe('held')
    await pass(130_000)
    expect(member.standing.is).toBe('enrolled')
    expect(standings.map(({ is }) => is)).toEqual(['held', 'enrolled'])
  })

  test('of a token tells how it stands: forgotten it enrols at once, suspended it waits', async () => {
    begin()
    await pass(1)
    member.refused('ENROL_UNKNOWN')
    expect(member.standing.is).toBe('waiting')
    await pass(1)
    expect([shown.length, member.standing.is]).toEqual([2, 'enrolled'])
    member.refused('REGISTRAR_AUDIENCE')
    expect(member.standing.is).toBe('enrolled')
    member.refused('ENROL_SUSPENDED')
    await pass(60_000)
    expect(member.standing).toEqual({ is: 'refused', reason: 'ENROL_SUSPENDED' })
    expect(shown).toHaveLength(2)
  })
})

test('another identity enrols at once, also while an attempt is under way', async () => {
  begin()
  member.enrolAgain()
  await pass(1)
  member.enrolAgain()
  await pass(1)
  expect(shown.length).toBeGreaterThanOrEqual(2)
})

test('ended it asks nothing any more', async () => {
  begin()
  await pass(1)
  member.end()
  member.enrolAgain()
  await pass(LIFE_MS)
  expect(shown).toHaveLength(1)
})

test('a registrar that forgets at once what it has just taken keeps the TPM no busier than one that is away', async () => {
  begin()
  await pass(1)
  for (let second = 0; second < 600; second += 1) {
    member.refused('ENROL_UNKNOWN')
    await pass(1000)
  }
  expect(shown.length).toBeGreaterThan(2)
  expect(shown.length).toBeLessThan(15)
  // One that it has kept until it was renewed is enrolled anew at once.
  await pass(LIFE_MS)
  const before = shown.length
  member.refused('ENROL_UNKNOWN')
  await pass(1)
  expect(shown.length).toBe(before + 1)
})
