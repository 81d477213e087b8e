import { expect, test } from 'vitest'
import {
  type Asker,
  signingQueue,
  WAITING_MAX,
  WAITING_PER_USER_MAX,
} from '../../src/identity/signing-queue.ts'

/** The order in which users get signatures, and who gets none. Items are named by who asked, and their number. */

function filled(...askers: readonly (readonly [Asker, number])[]) {
  const queue = signingQueue<string>()
  for (const [asker, count] of askers) {
    for (let at = 0; at < count; at += 1) expect(queue.add(asker, `${asker} ${at}`)).toBeUndefined()
  }
  return queue
}

test('users take turns, and of each user what came first is first', () => {
  const queue = filled([1, 3], [2, 1], ['agent', 1], [3, 2])
  expect(queue.take(5)).toEqual(['1 0', '2 0', 'agent 0', '3 0', '1 1'])
  expect(queue.take(16)).toEqual(['3 1', '1 2'])
  expect(queue.take(16)).toEqual([])
})

test('whoever comes while another floods is next', () => {
  const queue = filled([1, WAITING_PER_USER_MAX])
  queue.take(16)
  queue.add(2, 'late')
  expect(queue.take(2)).toContain('late')
})

test('a user has so many and no more; others and the agent still have room', () => {
  const queue = filled([1, WAITING_PER_USER_MAX])
  expect(queue.add(1, 'one more')).toBe('one more')
  expect(queue.add(2, 'of another')).toBeUndefined()
  for (let at = 0; at < 2 * WAITING_PER_USER_MAX; at += 1) {
    expect(queue.add('agent', 'of the agent')).toBeUndefined()
  }
})

test('when all users together have too many, the last of whoever has most makes room', () => {
  const users = WAITING_MAX / WAITING_PER_USER_MAX
  const askers = Array.from({ length: users }, (_, at) => [at + 1, WAITING_PER_USER_MAX] as const)
  const queue = filled(...askers)
  expect(queue.add(99, 'new')).toBe(`1 ${WAITING_PER_USER_MAX - 1}`)
  expect(queue.add(99, 'new')).toBe(`2 ${WAITING_PER_USER_MAX - 1}`)
  const all = queue.take(2 * WAITING_MAX)
  expect(all).toHaveLength(WAITING_MAX)
  expect(all.filter((item) => item === 'new')).toHaveLength(2)
})

test('when every user has one there is no more room, but for root and the agent', () => {
  const queue = filled(...Array.from({ length: WAITING_MAX }, (_, at) => [at + 1, 1] as const))
  expect(queue.add(999, 'new')).toBe('new')
  expect(queue.add(0, 'of root')).toBeUndefined()
  expect(queue.add('agent', 'of the agent')).toBeUndefined()
  queue.take(3)
  expect(queue.add(999, 'later')).toBeUndefined()
})
