import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { replayEventLog } from '../../src/format/event-log.ts'
import type { Evidence } from '../../src/format/evidence.ts'
import { verifyEvidence } from '../../src/verify/index.ts'
import {
  EV_EFI_HCRTM_EVENT,
  type LoggedEvent,
  makeEventLog,
  makeSha1Log,
  measured,
  startupLocality,
} from '../harness/event-log.ts'
import { gatherEvidence } from '../harness/evidence.ts'
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
  const genuine = await genuineCase(tpm)
  it = { ...genuine, evidence: await evidenceOver(genuine, [0, 1, 2, 3, 4, 5, 6, 7]) }
})
afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
})

const evidenceOver = ({ tpm: of, nonce, evidence }: VerifyCase, pcrs: readonly number[]) =>
  gatherEvidence(of, {
    nonce,
    pcrs,
    certificates: evidence.ek.certificates,
    ...evidence.identityDocument,
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

describe('no claim is made of', () => {
  const claimed = (evidence: Evidence) =>
    verifyEvidence(bytesOf(evidence), it.options).proven.includes('event-log')

  test.each([1, 2, 3, 4, 5, 6, 7])('a quote that leaves out PCR %i', async (left) => {
    const pcrs = [0, 1, 2, 3, 4, 5, 6, 7].filter((pcr) => pcr !== left)
    const evidence = await evidenceOver(it, pcrs)
    expect(claimed({ ...evidence, eventLog: makeEventLog(EVENTS) })).toBe(false)
  })

  test('a quote of the boot loader alone, whatever the log says of the firmware', async () => {
    const evidence = await evidenceOver(it, [8, 9])
    expect(claimed({ ...evidence, eventLog: makeEventLog([]) })).toBe(false)
  })

  test.each([
    ['an empty log', () => Buffer.alloc(0)],
    ['a log in the form of TPM 1.2', () => makeSha1Log(EVENTS)],
    ['a crypto-agile log of another bank', () => makeEventLog(EVENTS, 'sha1')],
  ])('%s, which is not refused', (_, make) => {
    expect(claimed({ ...it.evidence, eventLog: make() })).toBe(false)
  })
})

test('a log in the form of TPM 1.2 is replayed to the values of SHA-1', () => {
  const sha1 = (...parts: Buffer[]) => createHash('sha1').update(Buffer.concat(parts)).digest()
  const [, ...events] = EVENTS
  const [secureBoot, db] = events.map((event) => measured(event, 'sha1'))
  if (secureBoot === undefined || db === undefined) throw new Error('no events')
  const replayed = replayEventLog(makeSha1Log(events))
  expect([...replayed.keys()]).toEqual(['sha1'])
  const value = sha1(sha1(Buffer.alloc(20), secureBoot), db)
  expect(replayed.get('sha1')?.get(7)).toEqual(value)
})

test('of a PCR that an event extends in another bank alone, nobody knows the value in this one', () => {
  const log = makeEventLog([{ pcr: 7, data: 'both' }])
  const inSha1Alone = makeEventLog([{ pcr: 7, data: 'one' }], 'sha1')
  // A second bank in the header: its number of banks, then SHA-1 and the size of its digests.
  const banks = 32 + 16 + 8
  const header = Buffer.concat([
    log.subarray(0, banks),
    Buffer.from('02000000' + '04001400', 'hex'),
    log.subarray(banks + 4, 32 + log.readUInt32LE(28)),
  ])
  header.writeUInt32LE(header.length - 32, 28)
  const first = log.subarray(32 + log.readUInt32LE(28))
  const second = inSha1Alone.subarray(32 + inSha1Alone.readUInt32LE(28))
  const replayed = replayEventLog(Buffer.concat([header, first, second]))
  expect(replayed.get('sha256')?.has(7)).toBe(false)
})

describe('hardware that measures before TPM2_Startup (TPM 2.0 Part 1, 34.3)', () => {
  const HCRTM = { pcr: 0, type: EV_EFI_HCRTM_EVENT, data: 'HCRTM' }
  const FIRMWARE = { pcr: 0, data: 'firmware' }
  const valueAfter = (...events: LoggedEvent[]) =>
    replayEventLog(makeEventLog(events)).get('sha256')?.get(0)?.toString('hex')

  /** What a TPM has in PCR 0 that was told of `HCRTM` by its hardware, and of `FIRMWARE` by software. */
  async function real(): Promise<string> {
    await using stack = new AsyncDisposableStack()
    const measuring = await startSwtpm()
    stack.defer(() => measuring.stop())
    for (const command of [['-i'], ['-h', HCRTM.data]]) {
      const control = `${measuring.socketPath}.ctrl`
      await promisify(execFile)('swtpm_ioctl', ['--unix', control, ...command])
    }
    await tpm2(measuring, 'startup', '-c')
    await tpm2(measuring, 'pcrextend', `0:sha256=${measured(FIRMWARE).toString('hex')}`)
    const file = join(measuring.dir, 'pcr')
    await tpm2(measuring, 'pcrread', 'sha256:0', '-o', file)
    return (await readFile(file)).toString('hex')
  }

  test('leads to the value of a real TPM, with and without a logged locality', async () => {
    const value = await real()
    expect(valueAfter(HCRTM, FIRMWARE)).toBe(value)
    expect(valueAfter(startupLocality(4), HCRTM, FIRMWARE)).toBe(value)
  })

  test('a locality that is logged counts, and only the first event can begin PCR 0', () => {
    const plain = valueAfter({ ...HCRTM, type: 4 }, FIRMWARE)
    expect(valueAfter(startupLocality(0), HCRTM, FIRMWARE)).toBe(plain)
    const late = valueAfter(FIRMWARE, { ...HCRTM, type: 4 })
    expect(valueAfter(FIRMWARE, HCRTM)).toBe(late)
    expect(valueAfter({ ...HCRTM, pcr: 1 }, FIRMWARE)).toBe(valueAfter(FIRMWARE))
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
    for (let length = 1; length < log.length; length += 1) {
      if (ends.has(length)) continue
      const refusal = refusalOf(() => replayEventLog(log.subarray(0, length)))
      expect(refusal.code).toBe('VERIFY_EVENT_LOG')
    }
  })

  test('a locality that is logged after PCR 0 was extended', () => {
    const log = makeEventLog([{ pcr: 0, data: 'firmware' }, startupLocality(3)])
    expect(refusalOf(() => replayEventLog(log)).code).toBe('VERIFY_EVENT_LOG')
  })

  test('sizes that would take memory', () => {
    const log = makeEventLog(EVENTS)
    log.writeUInt32LE(0xffff_ffff, 28)
    expect(refusalOf(() => replayEventLog(log)).code).toBe('VERIFY_EVENT_LOG')
  })
})
