import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AGENT, ROOT, shares } from '../src/shares.ts'

const BYTES_MAX = 8000

function filledBy(...owners: readonly string[]) {
  const room = shares(BYTES_MAX)
  const taken = owners.map((owner) => {
    let bytes = 0
    while (room.take(owner, 10)) bytes += 10
    return bytes
  })
  return { room, taken }
}

test('one user takes no more than half of what is not kept, and the next still finds room', () => {
  expect(filledBy('uid 1', 'uid 2', 'uid 3').taken).toEqual([3000, 1500, 750])
})

test('any number of users leave to root and to the agent what is kept for them', () => {
  const { room } = filledBy(...Array.from({ length: 1000 }, (_, uid) => `uid ${uid + 1}`))
  for (const owner of [ROOT, AGENT]) {
    expect(room.take(owner, 1000)).toBe(true)
    expect(room.take(owner, 1)).toBe(false)
  }
})

test('root takes nothing of what is kept for the agent, nor the agent of root’s', () => {
  const { room } = filledBy('uid 1', ROOT)
  expect(room.take(AGENT, 1000)).toBe(true)
})

test('what is given back can be taken again, by anybody', () => {
  const { room, taken } = filledBy('uid 1')
  room.giveBack('uid 1', taken[0] ?? 0)
  expect(room.take('uid 2', 3000)).toBe(true)
})

test('never more is taken than there is', () => {
  const owner = fc.constantFrom(AGENT, ROOT, 'uid 1', 'uid 2', 'uid 3')
  const step = fc.record({ owner, bytes: fc.integer({ min: 1, max: 2000 }), gives: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const room = shares(BYTES_MAX)
      const held = new Map<string, number>()
      for (const { owner, bytes, gives } of steps) {
        const has = held.get(owner) ?? 0
        if (gives) {
          room.giveBack(owner, Math.min(bytes, has))
          held.set(owner, has - Math.min(bytes, has))
        } else if (room.take(owner, bytes)) held.set(owner, has + bytes)
        const used = [...held.values()].reduce((sum, one) => sum + one, 0)
        expect(used).toBeLessThanOrEqual(BYTES_MAX)
      }
    }),
  )
})
