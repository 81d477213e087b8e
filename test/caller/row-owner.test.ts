import { describe, expect, test } from 'vitest'
import { ROOT_OWNER, rowOwner, rowsOfLargest } from '../../src/caller/row-owner.ts'

describe('for whom a row is kept', () => {
  test('a user of the host, root as others', () => {
    expect(rowOwner({ uid: 1001, namespaces: [] })).toBe('uid 1001')
    expect(rowOwner({ uid: 0, namespaces: [] })).toBe('uid 0')
    expect(ROOT_OWNER).toBe('uid 0')
  })

  test.each([
    ['in a container', { uid: 0, container: 'web', namespaces: [] }],
    ['in a namespace', { uid: 0, namespaces: ['user' as const] }],
    ['that cannot be named', undefined],
  ])('one %s is one of those elsewhere', (_what, caller) => {
    expect(rowOwner(caller)).toBe('elsewhere')
  })
})

test('room is made among the rows of whoever has most of them, and of nobody else', () => {
  const rows = ['a', 'b', 'b', 'c', 'b', 'c'].map((owner, at) => ({ owner, at }))
  expect(rowsOfLargest(rows).map(({ at }) => at)).toEqual([1, 2, 4])
  const two = ['a', 'b', 'c', 'a', 'b'].map((owner) => ({ owner }))
  expect(rowsOfLargest(two).map(({ owner }) => owner)).toEqual(['a', 'b', 'a', 'b'])
  expect(rowsOfLargest([{ owner: 'a' }])).toHaveLength(1)
  expect(rowsOfLargest([])).toEqual([])
})
