import { describe, expect, test } from 'vitest'
import { continuationOf, RESTORE_AGAIN_MS, type Shown } from '../../src/registrar/fork-detection.ts'
import type { EnrolledInstance } from '../../src/registrar-repository/enrolled-instance.ts'
import { enrolledRow, NOW_MS } from './enrolled.ts'

/** A machine and its copies, by what each shows: a play of the rows. */
function fleetOfOne(row: EnrolledInstance = enrolledRow()) {
  let own = row
  let nowMs = NOW_MS
  return {
    get generation() {
      return own.generation
    },
    later: (ms: number) => {
      nowMs += ms
    },
    shows: (clockMs: number, shown: Partial<Shown> = {}, resets = 7, safe = true) => {
      nowMs += 1
      const counters = { clockMs, resetCount: resets, restartCount: 0, safe }
      const whole = { generation: own.generation, counters, nonceIssuedAtMs: nowMs, ...shown }
      const found = continuationOf(own, whole, nowMs)
      if (found.is !== 'next') return found.is
      own = { ...own, ...found.change, record: counters, seenAtMs: nowMs }
      return found.restored === undefined ? 'next' : 'restored'
    },
  }
}

describe('one machine', () => {
  test('goes on and reboots for ever', () => {
    const machine = fleetOfOne()
    for (let turn = 1; turn < 50; turn += 1) {
      expect(machine.shows(1000 + 100 * turn, {}, 7 + Math.trunc(turn / 10))).toBe('next')
    }
    expect(machine.generation).toBe(50)
  })

  test('that loses its power again and again goes on, though its clock goes back each time', () => {
    const machine = fleetOfOne()
    for (let resets = 8; resets < 12; resets += 1) {
      expect(machine.shows(90_000, {}, resets, false)).toBe('next')
      expect(machine.shows(180_000, {}, resets, false)).toBe('next')
    }
  })

  test('goes on when the clock of the registrar, which was a day ahead, is set right', () => {
    const machine = fleetOfOne()
    machine.later(RESTORE_AGAIN_MS)
    expect(machine.shows(1100)).toBe('next')
    machine.later(-RESTORE_AGAIN_MS)
    expect(machine.shows(1200)).toBe('next')
    expect(machine.shows(1300)).toBe('next')
  })

  test('that lost a reply, or three, is not told from one that lost none', () => {
    const machine = fleetOfOne()
    for (const clockMs of [1100, 1200, 1300]) {
      expect(machine.shows(clockMs, { generation: 1 })).toBe('next')
    }
    expect(machine.shows(1400)).toBe('next')
  })

  test('whose disk was restored shows an old generation, once or again and again', () => {
    const machine = fleetOfOne()
    for (const clockMs of [1100, 1200, 1300, 1400]) machine.shows(clockMs)
    expect(machine.shows(1500, { generation: 2 })).toBe('restored')
    expect(machine.shows(1600)).toBe('next')
    expect(machine.shows(1700, { generation: 2 })).toBe('restored')
    expect(machine.shows(1800, { generation: 0 })).toBe('restored')
    expect(machine.shows(1900)).toBe('next')
  })

  test('that was restored from a snapshot, TPM and all, is let on', () => {
    const machine = fleetOfOne()
    const taken = machine.generation
    for (const clockMs of [1100, 1200, 90_000]) machine.shows(clockMs)
    expect(machine.shows(1150, { generation: taken }, 8)).toBe('restored')
    expect(machine.shows(1250, {}, 8)).toBe('next')
    machine.later(RESTORE_AGAIN_MS)
    expect(machine.shows(1100, { generation: taken })).toBe('restored')
  })

  test('an enrolment that was overtaken on its way changes nothing', () => {
    const machine = fleetOfOne()
    machine.shows(2000)
    const generation = machine.generation
    expect(machine.shows(1500, { nonceIssuedAtMs: NOW_MS })).toBe('late')
    expect(machine.shows(1500, { nonceIssuedAtMs: NOW_MS, generation: 0 })).toBe('late')
    expect(machine.generation).toBe(generation)
    expect(machine.shows(2100)).toBe('next')
  })

  test('goes on at a registrar that was restored itself', () => {
    const machine = fleetOfOne()
    expect(machine.shows(1100, { generation: 40 })).toBe('restored')
    expect(machine.generation).toBe(41)
    expect(machine.shows(1200)).toBe('next')
  })
})

describe('two machines', () => {
  test('of one disk and TPM: the second word of either is the last of both', () => {
    const machine = fleetOfOne()
    machine.shows(1100)
    const copied = machine.generation
    machine.shows(1200)
    machine.shows(1300)
    const original = machine.generation
    // The copy cannot be told from a restored machine yet.
    expect(machine.shows(1350, { generation: copied })).toBe('restored')
    expect(machine.shows(1400, { generation: original })).toBe('forked')
  })

  test('of which the copy has just caught up: a lost reply covers one word and no more', () => {
    const machine = fleetOfOne()
    const copied = machine.generation
    machine.shows(1100)
    const original = machine.generation
    expect(machine.shows(1150, { generation: copied })).toBe('next')
    expect(machine.shows(1200, { generation: original })).toBe('forked')
  })

  test('that show no generation and take turns are betrayed by their clocks', () => {
    const machine = fleetOfOne()
    expect(machine.shows(50_000, { generation: 0 })).toBe('next')
    expect(machine.shows(20_000, { generation: 0 })).toBe('restored')
    expect(machine.shows(51_000, { generation: 0 })).toBe('next')
    expect(machine.shows(21_000, { generation: 0 })).toBe('forked')
  })

  test('a copy that shows none, and the true one with its generation', () => {
    const machine = fleetOfOne()
    machine.shows(1100)
    const original = machine.generation
    expect(machine.shows(1200, { generation: 0 })).toBe('restored')
    expect(machine.shows(1300, { generation: original })).toBe('forked')
  })

  test('what is remembered of branches is bounded', () => {
    let own = enrolledRow({ generation: 1000 })
    for (let turn = 0; turn < 200; turn += 1) {
      const counters = { ...own.record, clockMs: 2000 + turn, safe: true }
      const shown = { counters, nonceIssuedAtMs: NOW_MS }
      const found = continuationOf(own, { ...shown, generation: own.generation - 2 }, NOW_MS)
      if (found.is === 'next') own = { ...own, ...found.change }
      else own = { ...own, generation: own.generation + 10 }
    }
    expect(own.abandoned.length).toBeLessThanOrEqual(64)
  })
})
