import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { replayLogs } from '../../src/measurements/replayed-logs.ts'
import { makeEventLog } from '../harness/event-log.ts'
import {
  digestOf,
  evidenceOfLogs,
  imaDigest,
  makeCelJson,
  makeImaLog,
  makeSystemdLog,
} from '../harness/logs.ts'

/**
 * An attack: a log as long as it may be, none of whose prefixes leads to the quote. Who replayed each prefix from
 * its start would hash a billion times. The hashes are counted, and no time is measured.
 */

const counted = vi.hoisted(() => ({ hashes: 0 }))
vi.mock('node:crypto', async (original) => {
  const crypto = await original<typeof import('node:crypto')>()
  const hash = new Proxy(crypto.hash, {
    apply: (target, self, args) => {
      counted.hashes += 1
      return Reflect.apply(target, self, args)
    },
  })
  return { ...crypto, hash }
})
afterAll(() => vi.restoreAllMocks())
beforeEach(() => {
  counted.hashes = 0
})

const OTHER = Buffer.alloc(32, 0xee)
const quoted = (values: Readonly<Record<number, Buffer>>) => {
  const entries = Object.entries(values).map(([pcr, value]) => [Number(pcr), value] as const)
  return new Map([['sha256' as const, new Map(entries)]])
}
const IMA = Array.from({ length: 4000 }, (_, at) => ({ path: `/bin/${at}`, content: `${at}` }))

describe('a log is replayed once, however long it is and wherever the quote stands in it', () => {
  // An event of IMA: its SHA-1 and SHA-256, and an extension by each of two rules.
  test('IMA whose prefixes lead nowhere', () => {
    const { pcrs } = replayLogs(evidenceOfLogs({ ima: makeImaLog(IMA) }), quoted({ 10: OTHER }))
    expect(pcrs).toEqual([])
    expect(counted.hashes).toBeGreaterThan(IMA.length)
    expect(counted.hashes).toBeLessThanOrEqual(IMA.length * 4)
  })

  test.each([1, 2000, 3999])('IMA that was quoted after %d events', (at) => {
    const value = IMA.slice(0, at).reduce<Buffer>(
      (before, record) => digestOf('sha256', Buffer.concat([before, imaDigest(record, 'sha256')])),
      Buffer.alloc(32),
    )
    const found = replayLogs(evidenceOfLogs({ ima: makeImaLog(IMA) }), quoted({ 10: value }))
    expect(found.pcrs).toMatchObject([{ pcr: 10, laterEvents: IMA.length - at }])
    expect(counted.hashes).toBeLessThanOrEqual(IMA.length * 4)
  })

  test('all logs at once, for all PCRs of the quote', () => {
    const all = Object.fromEntries(Array.from({ length: 24 }, (_, pcr) => [pcr, OTHER]))
    const firmware = makeEventLog(IMA.map(({ path }, at) => ({ pcr: at % 10, data: path })))
    const systemd = makeSystemdLog(IMA.slice(0, 500).map(({ path }) => ({ pcr: 11, text: path })))
    const cel = makeCelJson(
      IMA.slice(0, 500).map(({ path }) => ({
        pcr: 14,
        digest: digestOf('sha256', path),
        content: { kind: 'pcclient_std', type: 13, data: Buffer.from(path) },
      })),
    )
    replayLogs(evidenceOfLogs({ systemd, ima: makeImaLog(IMA), cel }, firmware), quoted(all))
    // Of the firmware and of systemd an event is one extension by each rule.
    expect(counted.hashes).toBeLessThanOrEqual(2 * 4000 + 2 * 500 + 4 * 4000 + 500)
  })
})
