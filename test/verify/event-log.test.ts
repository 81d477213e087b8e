import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/test/swtpm.ts'
import { tpm2 } from '../../native/test/tools.ts'
import { replayEventLog } from '../../src/format/event-log.ts'
import { verifyEvidence } from '../../src/verify/index.ts'
import { type LoggedEvent, makeEventLog, measured } from '../harness/event-log.ts'
import { bytesOf, genuineCase, refusalOf, type VerifyCase } from '../harness/verify-case.ts'

/** Event logs: measured into a real TPM, replayed here and by tpm2_eventlog. */

const EVENTS: readonly LoggedEvent[] = [
  { pcr: 0, data: 'firmware volume' },
  { pcr: 7, data: 'SecureBoot' },
  { pcr: 7, data: 'db' },
  { pcr: 2, data: '\0\0\0\0' },
  { pcr: 9, data: 'initrd: of a later stage, and not compared' },
]

let swtpm: Swtpm
let tpm: Tpm
let it: VerifyCase
beforeAll(async () => {
  swtpm = await startSwtpm()
  for (const event of EVENTS) {
    await tpm2(swtpm, 'pcrextend', `${event.pcr}:sha256=${measured(event).toString('hex')}`)
  }
  tpm = await openTpm({ tcti: swtpm.tcti })
  it = await genuineCase(tpm)
})
afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
})

const withLog = (events: readonly LoggedEvent[]) => ({
  ...it.evidence,
  eventLog: makeEventLog(events),
})

describe('a log that leads to the quoted values', () => {
  test('is accepted, and said to be proven', () => {
    const verified = verifyEvidence(bytesOf(withLog(EVENTS)), it.options)
    expect(verified.proven).toContain('event-log')
  })

  test('is replayed to the same values by tpm2_eventlog', async () => {
    const file = join(swtpm.dir, 'log')
    await writeFile(file, makeEventLog(EVENTS))
    const { stdout } = await promisify(execFile)('tpm2_eventlog', [file])
    const theirs = [...stdout.matchAll(/^ {4}(\d+) *: 0x([0-9a-f]{64})$/gm)].map(
      ([, pcr, value]) => [Number(pcr), value],
    )
    const replayed = replayEventLog(makeEventLog(EVENTS)).get('sha256') ?? new Map()
    const ours = [...replayed].map(([pcr, value]) => [pcr, value.toString('hex')])
    expect(ours.sort()).toEqual(theirs.sort())
    expect(ours).toHaveLength(4)
  })
})

describe('refused', () => {
  test.each([
    ['an event left out', EVENTS.slice(0, 2)],
    ['all events of a PCR left out', EVENTS.filter(({ pcr }) => pcr !== 7)],
    [
      'events in another order',
      [EVENTS[2], EVENTS[1], EVENTS[0], EVENTS[3]].flatMap((each) => each ?? []),
    ],
    ['an event that was not measured', [...EVENTS, { pcr: 1, data: 'setup' }]],
  ])('%s', (_, events) => {
    const refusal = refusalOf(() => verifyEvidence(bytesOf(withLog(events)), it.options))
    expect(refusal).toEqual({ code: 'VERIFY_EVENT_LOG', check: 'event log' })
  })

  test.each([['truncated at each byte', () => makeEventLog(EVENTS)]])('%s', (_, make) => {
    const log = make()
    const ends = new Set(EVENTS.map((_, at) => makeEventLog(EVENTS.slice(0, at)).length))
    for (let length = 0; length < log.length; length += 1) {
      if (ends.has(length)) continue
      const refusal = refusalOf(() => replayEventLog(log.subarray(0, length)))
      expect(refusal.code).toBe('VERIFY_EVENT_LOG')
    }
  })

  test('sizes that would take memory', () => {
    const log = makeEventLog(EVENTS)
    log.writeUInt32LE(0xffff_ffff, 28)
    expect(refusalOf(() => replayEventLog(log)).code).toBe('VERIFY_EVENT_LOG')
  })
})
