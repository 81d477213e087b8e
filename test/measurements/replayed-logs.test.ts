import { describe, expect, test } from 'vitest'
import type { PcrEvent } from '../../src/format/pcr-event.ts'
import { type Logs, parseLogs } from '../../src/measurements/logs.ts'
import type { PcrValues } from '../../src/measurements/pcr-quote.ts'
import { provenContent } from '../../src/measurements/pcr-replay.ts'
import {
  coversQuote,
  replayLogs,
  requireFirmwareLog,
  requireReplayed,
} from '../../src/measurements/replayed-logs.ts'
import { makeEventLog } from '../harness/event-log.ts'
import { digestOf, evidenceOfLogs, makeSystemdLog } from '../harness/logs.ts'
import { detailOf } from '../harness/verify-case.ts'

/** What is said of the logs of an evidence, whatever machine they are of. */

const NOTHING = Buffer.alloc(32)
const MEASURED = digestOf('sha256', Buffer.concat([NOTHING, digestOf('sha256', 'a phase')]))
const LOG = { systemd: makeSystemdLog([{ pcr: 11, text: 'a phase' }]) }
/** PCR 0 without an event, and PCR 11 with one that no log has. */
const OTHER_BANK = new Map([
  [
    'sha384',
    new Map([
      [0, Buffer.alloc(48)],
      [11, Buffer.alloc(48, 1)],
    ]),
  ] as const,
])
const quotedOf = (...values: [pcr: number, value: Buffer][]) =>
  new Map([['sha256', new Map(values)] as const])

test('an instance that shows no log has none, and leaves none out', () => {
  const none: Logs = {
    firmware: undefined,
    systemd: [],
    ima: [],
    cel: [],
    leftOut: [],
  }
  expect(parseLogs(evidenceOfLogs(undefined), ['sha256'])).toEqual(none)
  expect(parseLogs(evidenceOfLogs({}), ['sha256'])).toEqual(none)
  expect(parseLogs(evidenceOfLogs({ leftOut: ['ima'] }), ['sha256'])).toEqual({
    ...none,
    leftOut: ['ima'],
  })
})

describe('logs cover what was quoted', () => {
  test('if they lead to each value, those of nothing too', () => {
    const quoted = quotedOf([11, MEASURED], [12, NOTHING])
    expect(coversQuote(replayLogs(evidenceOfLogs(LOG), quoted))).toBe(true)
  })

  test('not if one value is none that they lead to', () => {
    const quoted = quotedOf([11, MEASURED], [12, MEASURED])
    expect(coversQuote(replayLogs(evidenceOfLogs(LOG), quoted))).toBe(false)
  })

  test('not if a value of another bank is none that they lead to', () => {
    const quoted = new Map([...quotedOf([11, MEASURED]), ...OTHER_BANK])
    expect(coversQuote(replayLogs(evidenceOfLogs(LOG), quoted))).toBe(false)
  })

  test('not if there are none, though nothing was measured that they could tell', () => {
    expect(
      coversQuote(replayLogs(evidenceOfLogs(undefined), quotedOf([11, NOTHING], [12, NOTHING]))),
    ).toBe(false)
  })
})

test("a PCR of the firmware is explained in the log's own bank, whatever another bank has", () => {
  const log = makeEventLog([{ pcr: 1, data: 'what a firmware measured' }])
  const quoted = new Map([...quotedOf([11, MEASURED]), ...OTHER_BANK])
  const odd = new Map([...quotedOf([0, MEASURED]), ...OTHER_BANK])
  const check = (values: PcrValues) =>
    requireFirmwareLog(replayLogs(evidenceOfLogs(LOG, log), values))
  expect(() => check(quoted)).not.toThrow()
  expect(detailOf(() => check(odd))).toBe('VERIFY_EVENT_LOG Found: sha256 PCR 0.')
})

describe('that logs lead to a PCR', () => {
  const replayed = replayLogs(
    evidenceOfLogs({ ...LOG, leftOut: ['ima', 'cel'] }),
    quotedOf([11, MEASURED], [12, MEASURED]),
  )

  test.each<[string, readonly number[], string]>([
    ['it is not quoted', [11, 13], 'sha256 PCR 13 is not quoted'],
    ['it has another value', [11, 12], 'no log leads to sha256 PCR 12'],
  ])('is refused, with the logs that were left out: %s', (_, pcrs, found) => {
    expect(detailOf(() => requireReplayed(replayed, pcrs))).toBe(
      `VERIFY_REPLAY Found: ${found}; the instance has left out: ima, cel.`,
    )
  })

  test('is refused without a word of logs that were left out if none was', () => {
    const all = replayLogs(evidenceOfLogs(LOG), quotedOf([11, MEASURED], [12, MEASURED]))
    expect(() => requireReplayed(all, [11])).not.toThrow()
    expect(detailOf(() => requireReplayed(all, [12]))).toBe(
      'VERIFY_REPLAY Found: no log leads to sha256 PCR 12.',
    )
  })
})

test('an event proves what it says if that is what its digest in the bank is of, and there is one', () => {
  const event: PcrEvent = {
    ...{ log: 'systemd', pcr: 11, type: 'phase', data: Buffer.from('a phase') },
    digests: new Map([['sha256', digestOf('sha256', 'a phase')]]),
  }
  const other = { ...event, data: Buffer.from('another phase') }
  expect(provenContent(event, 'sha256')).toEqual(Buffer.from('a phase'))
  expect(provenContent(other, 'sha256')).toBeUndefined()
  expect(provenContent(event, 'sha384')).toBeUndefined()
})
