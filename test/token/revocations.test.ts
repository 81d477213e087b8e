import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { FIRST_GENERATION, loadRevocations, REVOCATIONS_MAX } from '../../src/token/revocations.ts'

let directory: string
let file: string
let nowMs = 0
const load = () => loadRevocations(directory, () => nowMs)

beforeEach(() => {
  directory = mkdtempSync('/tmp/mb-revoked-')
  file = join(directory, 'revocations')
  nowMs = 1000
})
afterEach(() => rmSync(directory, { recursive: true }))

const token = (number: number) => number.toString(16).padStart(16, '0')

test('nothing is revoked at first, and nothing is written', () => {
  const revocations = load()
  expect(revocations.generation).toBe(FIRST_GENERATION)
  expect(revocations.isRevoked(token(1))).toBe(false)
  expect(statSync(file, { throwIfNoEntry: false })).toBeUndefined()
})

describe('one token', () => {
  test('is revoked over a restart, and no other', () => {
    load().revokeToken(token(1), 5000)
    const after = load()
    expect(after.isRevoked(token(1))).toBe(true)
    expect(after.isRevoked(token(2))).toBe(false)
    expect(after.generation).toBe(FIRST_GENERATION)
    expect(statSync(file).mode & 0o7777).toBe(0o600)
  })

  test('is remembered until its end, and then forgotten', () => {
    const revocations = load()
    revocations.revokeToken(token(1), 5000)
    nowMs = 4999
    revocations.revokeToken(token(2), 9000)
    expect(revocations.isRevoked(token(1))).toBe(true)
    nowMs = 5000
    revocations.revokeToken(token(3), 9000)
    expect(JSON.parse(readFileSync(file, 'utf8')).tokens).toEqual([
      [token(2), 9000],
      [token(3), 9000],
    ])
  })

  test('that is revoked twice takes one place', () => {
    const revocations = load()
    revocations.revokeToken(token(1), 5000)
    revocations.revokeToken(token(1), 5000)
    expect(JSON.parse(readFileSync(file, 'utf8')).tokens).toHaveLength(1)
  })

  test('too many are refused, until some have ended', () => {
    const tokens = Array.from({ length: REVOCATIONS_MAX }, (_, at) => [token(at), 5000 + at])
    writeFileSync(file, JSON.stringify({ generation: FIRST_GENERATION, tokens }), { mode: 0o600 })
    const revocations = load()
    expect(revocations.isRevoked(token(REVOCATIONS_MAX - 1))).toBe(true)
    expect(() => revocations.revokeToken('f'.repeat(16), 9_000_000)).toThrow(
      expect.objectContaining({ code: 'LIMIT_REVOCATIONS' }),
    )
    expect(revocations.isRevoked('f'.repeat(16))).toBe(false)
    nowMs = 5000
    revocations.revokeToken('f'.repeat(16), 9_000_000)
    expect(load().isRevoked('f'.repeat(16))).toBe(true)
  })

  test('that cannot be written is not revoked, and says so', () => {
    const revocations = load()
    rmSync(directory, { recursive: true })
    expect(() => revocations.revokeToken(token(1), 5000)).toThrow(
      expect.objectContaining({ code: 'DIRECTORY_FAULT' }),
    )
    expect(revocations.isRevoked(token(1))).toBe(false)
    expect(() => revocations.revokeAll()).toThrow(
      expect.objectContaining({ code: 'DIRECTORY_FAULT' }),
    )
    expect(revocations.generation).toBe(FIRST_GENERATION)
    // afterEach removes it again.
    directory = mkdtempSync('/tmp/mb-revoked-')
  })
})

describe('what is over is forgotten, without anybody asking', () => {
  const START_MS = 1000
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
  afterEach(() => void vi.useRealTimers())

  /** Boot time goes on, and what is due is done. */
  const pass = (ms: number) => {
    nowMs += ms
    vi.advanceTimersByTime(ms)
  }
  const kept = () =>
    JSON.parse(readFileSync(file, 'utf8')).tokens.map(([random]: [string]) => random)

  test('each at its end, the first of them first', () => {
    const revocations = load()
    revocations.revokeToken(token(2), START_MS + 40_000)
    revocations.revokeToken(token(1), START_MS + 20_000)
    revocations.revokeToken(token(3), START_MS + 50_000)
    expect(vi.getTimerCount()).toBe(1)
    pass(19_999)
    expect(kept()).toEqual([token(2), token(1), token(3)])
    pass(1)
    expect(kept()).toEqual([token(2), token(3)])
    expect([1, 2].map((at) => revocations.isRevoked(token(at)))).toEqual([false, true])
    pass(20_000)
    expect(kept()).toEqual([token(3)])
    pass(10_000)
    expect(kept()).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('after a restart too', () => {
    load().revokeToken(token(1), START_MS + 20_000)
    vi.clearAllTimers()
    load()
    pass(20_000)
    expect(kept()).toEqual([])
  })

  test('with a second between two writes, however many end', () => {
    const revocations = load()
    revocations.revokeToken(token(1), START_MS + 1)
    revocations.revokeToken(token(2), START_MS + 999)
    pass(999)
    expect(kept()).toEqual([token(1), token(2)])
    pass(1)
    expect(kept()).toEqual([])
  })

  test('within a minute of a suspend, in which no timer runs', () => {
    load().revokeToken(token(1), START_MS + 3_600_000)
    nowMs += 3_600_000
    vi.advanceTimersByTime(59_999)
    expect(kept()).toEqual([token(1)])
    vi.advanceTimersByTime(1)
    expect(kept()).toEqual([])
  })

  test('what lives for longer is left alone, and nothing is written', () => {
    load().revokeToken(token(1), START_MS + 3_600_000)
    rmSync(file)
    pass(180_000)
    expect(statSync(file, { throwIfNoEntry: false })).toBeUndefined()
    expect(vi.getTimerCount()).toBe(1)
    pass(3_420_000)
    expect(kept()).toEqual([])
  })

  test('a disk that cannot be written is tried again a minute later', () => {
    const revocations = load()
    revocations.revokeToken(token(1), START_MS + 20_000)
    rmSync(directory, { recursive: true })
    pass(20_000)
    expect(revocations.isRevoked(token(1))).toBe(true)
    mkdirSync(directory)
    pass(59_999)
    expect(revocations.isRevoked(token(1))).toBe(true)
    pass(1)
    expect(revocations.isRevoked(token(1))).toBe(false)
    expect(kept()).toEqual([])
  })

  test('and when all are revoked there is nothing to wait for', () => {
    const revocations = load()
    revocations.revokeToken(token(1), START_MS + 20_000)
    revocations.revokeAll()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('all tokens', () => {
  test('are revoked by a generation that lasts over a restart', () => {
    const revocations = load()
    revocations.revokeToken(token(1), 5000)
    revocations.revokeAll()
    const { generation } = revocations
    expect(generation).toMatch(/^[0-9a-f]{32}$/)
    expect(generation).not.toBe(FIRST_GENERATION)
    expect(load().generation).toBe(generation)
    expect(JSON.parse(readFileSync(file, 'utf8')).tokens).toEqual([])
    revocations.revokeAll()
    expect(revocations.generation).not.toBe(generation)
  })

  test('by a generation that nobody can guess from the one before', () => {
    const generations = Array.from({ length: 8 }, () => {
      rmSync(file, { force: true })
      const revocations = load()
      revocations.revokeAll()
      const { generation } = revocations
      revocations.revokeAll()
      return [generation, revocations.generation]
    }).flat()
    expect(new Set(generations).size).toBe(16)
    // No half of it is the same in all, as a counter's or a clock's would be.
    expect(new Set(generations.map((generation) => generation.slice(0, 16))).size).toBe(16)
    expect(new Set(generations.map((generation) => generation.slice(16))).size).toBe(16)
  })

  test('the generation stays when one token is revoked after that', () => {
    const revocations = load()
    revocations.revokeAll()
    const { generation } = revocations
    revocations.revokeToken(token(1), 5000)
    expect(load().generation).toBe(generation)
  })
})

describe('a file that is not ours any more', () => {
  const good = { generation: FIRST_GENERATION, tokens: [] }
  const CORRUPT: readonly (readonly [string, string])[] = [
    ['empty', ''],
    ['cut', JSON.stringify({ generation: FIRST_GENERATION, tokens: [[token(1), 5]] }).slice(0, -3)],
    ['zeros', '\0'.repeat(64)],
    ['null', 'null'],
    ['a list', '[]'],
    ['without a generation', '{"tokens":[]}'],
    ['without tokens', `{"generation":"${FIRST_GENERATION}"}`],
    ['with more', JSON.stringify({ ...good, more: 1 })],
    ['a short generation', JSON.stringify({ ...good, generation: '00' })],
    ['a long generation', JSON.stringify({ ...good, generation: '0'.repeat(33) })],
    ['a long token', JSON.stringify({ ...good, tokens: [[`${token(1)}0`, 1]] })],
    ['a generation in capitals', JSON.stringify({ ...good, generation: 'A'.repeat(32) })],
    ['a token that is none', JSON.stringify({ ...good, tokens: [['x', 1]] })],
    ['an end before the boot', JSON.stringify({ ...good, tokens: [[token(1), -1]] })],
    ['an end that is no number', JSON.stringify({ ...good, tokens: [[token(1), '1']] })],
    [
      'too many tokens',
      JSON.stringify({
        ...good,
        tokens: Array.from({ length: REVOCATIONS_MAX + 1 }, (_, at) => [token(at), 5000]),
      }),
    ],
  ]

  test.each(CORRUPT)('%s: everything is revoked', (_what, text) => {
    writeFileSync(file, text, { mode: 0o600 })
    const { generation } = load()
    expect(generation).toMatch(/^[0-9a-f]{32}$/)
    expect(generation).not.toBe(FIRST_GENERATION)
  })

  test('what was revoked by it once stays revoked, and later restarts revoke nothing more', () => {
    writeFileSync(file, 'corrupt', { mode: 0o600 })
    const { generation } = load()
    expect(load().generation).toBe(generation)
  })

  test('readable by others, it is refused', () => {
    writeFileSync(file, JSON.stringify(good), { mode: 0o644 })
    expect(load).toThrow(expect.objectContaining({ code: 'DIRECTORY_UNSAFE' }))
  })

  test('too large, it is refused', () => {
    writeFileSync(file, ' '.repeat(4_194_305), { mode: 0o600 })
    expect(load).toThrow(expect.objectContaining({ code: 'DIRECTORY_UNSAFE' }))
  })
})
