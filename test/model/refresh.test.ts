import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type HeldSource, heldSource } from '../harness/held-source.ts'
import { explore, inWords, traces } from './machine.ts'
import { REFRESH_GUARDS, refresh } from './refresh.ts'
import { listOfRoles, realRefresh } from './refresh-replay.ts'
import { replay } from './replay.ts'

// A busy machine takes minutes.
const LONG_MS = 600_000

let source: HeldSource
beforeAll(async () => {
  source = await heldSource(listOfRoles)
})
afterAll(() => source[Symbol.asyncDispose]())
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

describe.each(['credentials', 'other'] as const)('reads of one path: %s', (kind) => {
  const explored = explore(refresh(kind))

  test('nothing happens that must never happen', () => {
    expect(explored.broken && inWords(explored.broken.trace)).toBeUndefined()
  })

  test(
    'the cache does what the model says, at every transition',
    async () => {
      for (const trace of traces(explored)) {
        await replay(refresh(kind), trace, () => realRefresh(kind, source))
      }
    },
    LONG_MS,
  )
})

const TWICE = 'two reads of one path are under way'
const ENDED = 'what has ended is given'
const ANSWERED = ['read: waits', 'answers: answers miss'] as const

/** Each guard, what happens without it, and the shortest way there. */
const WITHOUT: Readonly<
  Record<keyof typeof REFRESH_GUARDS, readonly [never: string, ...trace: string[]]>
> = {
  joinRead: [TWICE, 'read: waits', 'read: waits'],
  joinFresh: [TWICE, 'read: waits', 'read-fresh: waits'],
  joinTurn: [TWICE, ...ANSWERED, 'read-fresh: waits', 'age: older', 'turn: turned'],
  lateIsUnderWay: [TWICE, 'read: waits', 'too-late: late SOURCE_DOWN', 'read-fresh: waits'],
  ended: [ENDED, ...ANSWERED, 'age: older', 'age: older', 'age: older', 'read: hit'],
}

test.each(Object.entries(WITHOUT))('without %s it would', (guard, [never, ...trace]) => {
  const { broken } = explore(refresh('credentials', { ...REFRESH_GUARDS, [guard]: false }))
  expect(broken?.never).toBe(never)
  expect(inWords(broken?.trace ?? [])).toBe(trace.join('\n'))
})
