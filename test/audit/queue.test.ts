import { beforeEach, describe, expect, test } from 'vitest'
import { type AuditQueue, auditQueue } from '../../src/audit/queue.ts'

const record = { time: '2026-01-01T00:00:00.000Z', event: 'token.issued' }
const OWNER = 'uid 1000'

let lost: number
let queue: AuditQueue
beforeEach(() => {
  lost = 0
  queue = auditQueue(7, () => {
    lost += 1
  })
})

/** Takes all that waits, batch by batch. */
function drain() {
  const batches = []
  for (let batch = queue.batch(); batch.length > 0; batch = queue.batch()) {
    queue.remove(batch)
    batches.push(batch.map(({ seq, event }) => ({ seq, event })))
  }
  return batches
}

/** Puts records of one owner until one is lost. @returns how many were taken */
function fill(): number {
  let taken = 0
  while (lost === 0) {
    queue.put(record, OWNER)
    taken += 1
  }
  return taken - 1
}

test('numbers records from the first on, in the order in which they came', () => {
  expect([queue.put(record, OWNER).seq, queue.put(record, OWNER).seq]).toEqual([7, 8])
  expect(drain()).toEqual([
    [
      { seq: 7, event: 'token.issued' },
      { seq: 8, event: 'token.issued' },
    ],
  ])
})

describe('a batch', () => {
  test('holds nothing beyond the beginning of another file, and only one waits', () => {
    queue.put(record, OWNER)
    queue.putStart()
    queue.putStart()
    queue.put(record, OWNER)
    expect(drain().map((batch) => batch.map(({ event }) => event))).toEqual([
      ['token.issued'],
      ['chain.start', 'token.issued'],
    ])
  })

  test('is 64 KiB, whatever waits', () => {
    const whole = { ...record, detail: '' }
    const detail = 'x'.repeat(1024 - JSON.stringify(whole).length)
    for (let count = 0; count < 130; count += 1) queue.put({ ...whole, ...{ detail } }, OWNER)
    expect(queue.batch()[0]?.body).toHaveLength(1024)
    expect(drain().map((batch) => batch.length)).toEqual([64, 64, 2])
  })

  test('stays until it is removed', () => {
    queue.put(record, OWNER)
    expect(queue.batch()).toEqual(queue.batch())
    expect(queue.batch()).toHaveLength(1)
  })
})

describe('a full queue', () => {
  test('gives a lost record its number, and says before the next how many were lost', () => {
    const taken = fill()
    expect(queue.put(record, OWNER)).toEqual({ seq: 7 + taken + 1, isLost: true })
    expect(lost).toBe(2)
    drain()
    expect(queue.put(record, OWNER)).toEqual({ seq: 7 + taken + 3, isLost: false })
    const [gap] = queue.batch()
    expect(JSON.parse(gap?.body ?? '')).toMatchObject({ event: 'chain.gap', lost: 2 })
  })

  test('says nothing of a gap where there is none', () => {
    queue.putGap()
    expect(queue.batch()).toEqual([])
  })

  test('says before the beginning of another file how many were lost, and once', () => {
    fill()
    drain()
    queue.putStart()
    queue.putGap()
    expect(drain().map((batch) => batch.map(({ event }) => event))).toEqual([
      ['chain.gap'],
      ['chain.start'],
    ])
  })

  test('has room for other owners, and gives back what was removed', () => {
    const taken = fill()
    queue.put(record, 'uid 1001')
    expect(lost).toBe(1)
    drain()
    lost = 0
    expect(fill()).toBeGreaterThanOrEqual(taken - 1)
  })
})
