import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import type { Evidence } from '../../src/format/evidence.ts'
import { replayLogs } from '../../src/measurements/replayed-logs.ts'
import { type VerifyOptions, verifyEvidence } from '../../src/verify/index.ts'
import { type LoggedEvent, makeEventLog, measured } from '../harness/event-log.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import {
  type Bank,
  type CelRecord,
  digestOf,
  type ImaRecord,
  imaData,
  imaDigest,
  makeCelCbor,
  makeCelJson,
  makeImaLog,
  makeSystemdLog,
  type SystemdRecord,
} from '../harness/logs.ts'
import { policy } from '../harness/vector.ts'
import { bytesOf, genuineCase, refusalOf, type VerifyCase } from '../harness/verify-case.ts'

/** Logs of what ran after the firmware: measured into a real TPM, quoted, and replayed here. */

const FIRMWARE: readonly LoggedEvent[] = [
  { pcr: 4, data: 'boot loader' },
  { pcr: 11, data: 'kernel image' },
]
const SYSTEMD: readonly SystemdRecord[] = [
  { pcr: 11, text: 'enter-initrd' },
  { pcr: 15, text: 'cryptsetup:root', type: 'volume-key', measured: Buffer.from('a secret') },
  { nvIndex: 0x01d1_0200, text: 'product-id:missing', type: 'product-id' },
  { pcr: 11, text: 'leave-initrd' },
  { pcr: 15, text: 'machine-id:fa1afe', type: 'machine-id' },
]
const IMA: readonly ImaRecord[] = [
  { path: 'boot_aggregate', content: 'PCRs 0 to 9' },
  { path: '/sbin/init', content: 'init', template: 'ima-sig' },
  { path: '/tmp/changing', content: '', isViolation: true },
  { path: 'kexec-cmdline', content: 'root=/dev/vda1', template: 'ima-buf' },
  { path: '/usr/bin/env', content: 'env', template: 'ima-ngv2' },
  { path: '/usr/bin/id', content: 'id', template: 'ima-sigv2' },
  { path: '/usr/bin/old', content: 'old', template: 'ima' },
]
const CEL: readonly CelRecord[] = [
  { pcr: 14, digest: Buffer.alloc(32), content: { kind: 'cel', type: 1 } },
  {
    pcr: 14,
    digest: digestOf('sha256', 'Moklist'),
    content: { kind: 'pcclient_std', type: 13, data: Buffer.from('Moklist') },
  },
  {
    pcr: 14,
    digest: Buffer.alloc(32),
    content: { kind: 'pcclient_std', type: 3, data: Buffer.from('no action') },
  },
  {
    pcr: 14,
    digest: Buffer.alloc(32),
    content: { kind: 'ima_template', name: 'ima-ng', data: Buffer.from('violation') },
  },
]
const QUOTED = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 14, 15]

/** A TPM into which all of that was measured, in order. */
interface Machine {
  readonly swtpm: Swtpm
  readonly tpm: Tpm
  readonly it: VerifyCase
}

async function extend(swtpm: Swtpm, pcr: number | undefined, digest: Buffer, bank: Bank) {
  if (pcr !== undefined) await tpm2(swtpm, 'pcrextend', `${pcr}:${bank}=${digest.toString('hex')}`)
}

async function machine(kernel: 'old' | 'new', bank: Bank = 'sha256'): Promise<Machine> {
  const swtpm = await startSwtpm()
  if (bank === 'sha256') {
    for (const event of FIRMWARE) await extend(swtpm, event.pcr, measured(event), bank)
    for (const record of CEL) {
      const isMeasured = record.content.kind === 'ima_template' || record.content.type === 13
      const isViolation = record.content.kind === 'ima_template'
      const digest = isViolation ? Buffer.alloc(32, 0xff) : record.digest
      if (isMeasured) await extend(swtpm, record.pcr, digest, bank)
    }
  }
  for (const { pcr, text, measured: data } of SYSTEMD) {
    await extend(swtpm, pcr, digestOf(bank, data ?? text), bank)
  }
  for (const record of IMA) await extend(swtpm, 10, imaDigest(record, bank, kernel), bank)
  const tpm = await openTpm({ tcti: swtpm.tcti })
  const genuine = await genuineCase(tpm)
  const { evidence, nonce } = genuine
  const made = await gatherEvidence(tpm, {
    nonce,
    bank,
    pcrs: QUOTED,
    certificates: evidence.ek.certificates,
    ...evidence.identityDocument,
  })
  return { swtpm, tpm, it: { ...genuine, evidence: made } }
}

const machines: Machine[] = []
let it: VerifyCase
let old: VerifyCase
let sha384: VerifyCase
beforeAll(async () => {
  machines.push(await machine('new'), await machine('old'), await machine('new', 'sha384'))
  const [first, second, third] = machines
  if (!first || !second || !third) throw new Error('no machines')
  it = first.it
  old = second.it
  sha384 = third.it
})
afterAll(async () => {
  for (const { tpm, swtpm } of machines) {
    await tpm.close()
    await swtpm.stop()
  }
})

type Logged = NonNullable<Evidence['logs']> & { readonly firmware?: Buffer }

const ALL: Logged = {
  firmware: makeEventLog(FIRMWARE),
  systemd: makeSystemdLog(SYSTEMD),
  ima: makeImaLog(IMA),
  cel: makeCelJson(CEL),
}

function verify(
  of: VerifyCase,
  { firmware, ...logs }: Logged,
  options: Partial<VerifyOptions> = {},
) {
  const eventLog = firmware === undefined ? {} : { eventLog: firmware }
  const evidence = { ...of.evidence, ...eventLog, logs }
  return verifyEvidence(bytesOf(evidence), { ...of.options, ...options })
}

const replayedIn = (of: VerifyCase, logs: Logged, bank = 'sha256') =>
  verify(of, logs).replayed[bank] ?? {}

describe('logs that lead to the quoted values', () => {
  test('are shown with the PCRs that they lead to, and with what systemd measured', () => {
    const verified = verify(it, ALL)
    expect(verified.proven).toEqual(expect.arrayContaining(['event-log', 'all-replayed']))
    expect(verified.replayed.sha256).toMatchObject({
      '0': { logs: [], events: 0 },
      '4': { logs: ['firmware'], events: 1, laterEvents: 0, systemd: [] },
      '10': { logs: ['ima'], events: IMA.length },
      '11': { logs: ['firmware', 'systemd'], events: 3, systemd: ['enter-initrd', 'leave-initrd'] },
      '14': { logs: ['cel'], events: 2 },
      '15': { logs: ['systemd'], events: 2 },
    })
  })

  test('show no text that is not what was measured: a key of a volume', () => {
    expect(replayedIn(it, ALL)['15']?.systemd).toEqual(['machine-id:fa1afe'])
  })

  test('CEL in CBOR leads where CEL in JSON does', () => {
    const logs = { ...ALL, cel: makeCelCbor(CEL) }
    expect(verify(it, logs).replayed).toEqual(verify(it, ALL).replayed)
  })

  test('IMA of a kernel that fills SHA-1 up in other banks', () => {
    expect(replayedIn(old, ALL)['10']).toMatchObject({ logs: ['ima'], events: IMA.length })
  })

  test('of SHA-1 that is filled up, which says nothing of what has the same SHA-1', () => {
    const allowed = (kernel: 'old' | 'new') =>
      IMA.map((record) => imaDigest(record, 'sha256', kernel).toString('hex'))
    const digests = (kernel: 'old' | 'new') => ({
      pcrPolicy: Buffer.from(
        JSON.stringify({
          format: 'metabind pcr policy',
          version: 2,
          bank: 'sha256',
          rules: [{ rule: 'digests', pcr: 10, allowed: allowed(kernel) }],
        }),
      ),
    })
    expect(verify(it, ALL, digests('new')).proven).toContain('pcr-policy')
    expect(refusalOf(() => verify(old, ALL, digests('new'))).code).toBe('VERIFY_PCR_POLICY')
    expect(verify(old, ALL, digests('old')).proven).toContain('pcr-policy')
  })

  test('in a bank of SHA-384, with hashes of the same template data', () => {
    const systemd = makeSystemdLog(SYSTEMD, ['sha384'])
    const found = replayedIn(sha384, { systemd, ima: ALL.ima }, 'sha384')
    expect(found['10']).toMatchObject({ logs: ['ima'], events: IMA.length })
    expect(found['11']).toMatchObject({ logs: ['systemd'], events: 2 })
  })

  test('and systemd without a digest of the quoted bank to nothing', () => {
    const { sha256 = {} } = verify(it, {
      ...ALL,
      systemd: makeSystemdLog(SYSTEMD, ['sha1']),
    }).replayed
    expect(Object.keys(sha256)).not.toContain('11')
    expect(Object.keys(sha256)).not.toContain('15')
  })
})

describe('a log that went on after the quote', () => {
  const later: ImaRecord[] = [1, 2, 3].map((at) => ({ path: `/later/${at}`, content: `${at}` }))

  test('leads to the quoted value by its beginning; the rest is counted and not believed', () => {
    const systemd = makeSystemdLog([...SYSTEMD, { pcr: 11, text: 'ready' }])
    const found = replayedIn(it, { ...ALL, systemd, ima: makeImaLog([...IMA, ...later]) })
    expect(found['10']).toMatchObject({ events: IMA.length, laterEvents: 3 })
    expect(found['11']).toMatchObject({ laterEvents: 1, systemd: ['enter-initrd', 'leave-initrd'] })
  })

  test('and one that is short of what was quoted explains nothing', () => {
    const found = replayedIn(it, { ...ALL, ima: makeImaLog(IMA.slice(0, -1)) })
    expect(Object.keys(found)).not.toContain('10')
  })

  test.each([
    ['an event left out', IMA.slice(1)],
    ['events in another order', [...IMA].reverse()],
    ['an event put in', [IMA[0], { path: '/bin/good', content: 'good' }, ...IMA.slice(1)]],
  ])('%s explains nothing, either', (_, records) => {
    const ima = makeImaLog(records.flatMap((record) => record ?? []))
    expect(Object.keys(replayedIn(it, { ...ALL, ima }))).not.toContain('10')
  })
})

describe('what must be replayed', () => {
  test('is not refused if it is', () => {
    expect(verify(it, ALL, { demandReplayed: QUOTED }).verified).toBe(false)
    const pcrPolicy = Buffer.from(
      JSON.stringify({
        ...JSON.parse(policy({ '0': '00'.repeat(32) }).toString()),
        replayed: [10, 11],
      }),
    )
    expect(() => verify(it, ALL, { pcrPolicy })).not.toThrow()
    expect(refusalOf(() => verify(it, { ...ALL, ima: undefined }, { pcrPolicy }))).toEqual({
      code: 'VERIFY_REPLAY',
      check: 'replayed PCRs',
    })
  })

  test.each([
    ['no log leads to sha256 PCR 10', 10, { ...ALL, ima: undefined }],
    ['no log leads to sha256 PCR 11', 11, { ...ALL, systemd: undefined }],
    ['sha256 PCR 9 is not quoted', 9, ALL],
    [
      'no log leads to sha256 PCR 10; the instance has left out: ima',
      10,
      { ...ALL, ima: undefined, leftOut: ['ima' as const] },
    ],
  ])('is refused by the number of its PCR: %s', (why, pcr, logs) => {
    const refused = () => verify(it, logs, { demandReplayed: [pcr] })
    expect(refused).toThrow(
      expect.objectContaining({ code: 'VERIFY_REPLAY', detail: `Found: ${why}.` }),
    )
  })

  test.each([-1, 32, 1.5, Number.NaN])('%d is no PCR to demand', (pcr) => {
    expect(() => verify(it, ALL, { demandReplayed: [pcr] })).toThrow(RangeError)
  })
})

describe('CEL', () => {
  test('says of zeros that are no violation of IMA what they are', () => {
    const zeros = { pcr: 14, digest: Buffer.alloc(32) }
    const data = Buffer.from('zeros')
    const value = digestOf('sha256', Buffer.alloc(64))
    const quoted = new Map([['sha256' as const, new Map([[14, value]])]])
    const cel = makeCelJson([{ ...zeros, content: { kind: 'pcclient_std', type: 13, data } }])
    expect(replayLogs({ ...it.evidence, logs: { cel } }, quoted).pcrs).toHaveLength(1)
    const violation = makeCelJson([{ ...zeros, content: { kind: 'ima_template', name: '', data } }])
    expect(replayLogs({ ...it.evidence, logs: { cel: violation } }, quoted).pcrs).toEqual([])
  })

  const firmware = makeEventLog([...FIRMWARE, { pcr: 14, data: 'another' }])

  test('is no word for a PCR of the firmware whose own log says otherwise', () => {
    const event = { pcr: 4, data: 'another boot loader' }
    const cel = makeCelJson([
      {
        pcr: 4,
        digest: measured(FIRMWARE[0] ?? event),
        content: { kind: 'pcclient_std', type: 13, data: Buffer.from('boot loader') },
      },
    ])
    const refused = refusalOf(() => verify(it, { firmware: makeEventLog([event]), cel }))
    expect(refused.code).toBe('VERIFY_EVENT_LOG')
  })

  test('explains any other PCR from its start, whatever the firmware says', () => {
    expect(replayedIn(it, { ...ALL, firmware })['14']).toMatchObject({ logs: ['cel'] })
  })
})

test('what the instance says it has left out is told', () => {
  expect(verify(it, ALL).logsLeftOut).toEqual([])
  const logs = { ...ALL, ima: undefined, leftOut: ['ima' as const] }
  expect(verify(it, logs).logsLeftOut).toEqual(['ima'])
})

test('nothing that was quoted covers an NV index, and it is shown apart', () => {
  const { nvPcrs, replayed } = verify(it, ALL)
  const value = digestOf(
    'sha256',
    Buffer.concat([Buffer.alloc(32), digestOf('sha256', 'product-id:missing')]),
  )
  expect(nvPcrs).toEqual([{ nvIndex: 'hardware', events: 1, value: value.toString('hex') }])
  expect(JSON.stringify(replayed)).not.toContain('product-id')
})

describe('refused for its form', () => {
  const altered = (log: Buffer, change: (text: string) => string) =>
    Buffer.from(change(log.toString()))
  const systemd = makeSystemdLog(SYSTEMD)
  const ima = makeImaLog(IMA)
  const cel = makeCelJson(CEL)
  const wrongDigest = Buffer.from(ima)
  wrongDigest.writeUInt8(wrongDigest.readUInt8(4) ^ 1, 4)
  const wrongData = Buffer.from(ima)
  wrongData.writeUInt8(wrongData.readUInt8(60) ^ 1, 60)

  test.each<[string, Logged]>([
    ['systemd: half a record at the end', { systemd: systemd.subarray(0, -40) }],
    [
      'systemd: no record separator',
      { systemd: altered(systemd, (text) => text.replace('\x1e', '')) },
    ],
    [
      'systemd: a member that stands twice',
      { systemd: altered(systemd, (text) => text.replace('{"pcr":11', '{"pcr":11,"pcr":15')) },
    ],
    [
      'systemd: a PCR that there is not',
      { systemd: altered(systemd, (text) => text.replace('"pcr":11', '"pcr":32')) },
    ],
    [
      'systemd: a bank that stands twice',
      { systemd: makeSystemdLog(SYSTEMD, ['sha256', 'sha256']) },
    ],
    [
      'systemd: a digest of another length',
      { systemd: altered(systemd, (text) => text.replace('"sha256"', '"sha384"')) },
    ],
    [
      'systemd: no hex',
      { systemd: altered(systemd, (text) => text.replace('"digest":"', '"digest":"xy')) },
    ],
    ['IMA: cut in its last record', { ima: ima.subarray(0, -1) }],
    ['IMA: a digest that is not of the data', { ima: wrongDigest }],
    ['IMA: data that the digest is not of', { ima: wrongData }],
    ['IMA: PCR 32', { ima: makeImaLog([{ path: '/', content: '', pcr: 32 }]) }],
    [
      'IMA: a size that would take memory',
      { ima: Buffer.concat([ima, Buffer.alloc(24), Buffer.alloc(4, 0xff)]) },
    ],
    ['CEL: text that is none', { cel: Buffer.from('no json') }],
    ['CEL: a record behind the array', { cel: Buffer.concat([cel, Buffer.from('{}')]) }],
    [
      'CEL: PCR and NV index',
      { cel: altered(cel, (text) => text.replace('"pcr":14', '"pcr":14,"nv_index":1')) },
    ],
    ['CEL: PCR 32', { cel: altered(cel, (text) => text.replaceAll('"pcr":14', '"pcr":32')) }],
    ['CEL: no content', { cel: altered(cel, (text) => text.replace('"event_data"', '"data"')) }],
    ['CEL: CBOR nested without end', { cel: Buffer.alloc(200_000, 0x81) }],
    ['CEL: CBOR of an indefinite length', { cel: Buffer.from('9fff', 'hex') }],
    ['CEL: a CBOR key that stands twice', { cel: Buffer.from('81a200000000', 'hex') }],
    [
      'CEL: a CBOR number that is one for some readers and a float for others',
      {
        cel: Buffer.from(
          `81a4 01f94b00 0381a2000b015820${'11'.repeat(32)} 0905 0aa2000d0140`.replaceAll(' ', ''),
          'hex',
        ),
      },
    ],
    ['CEL: a CBOR key that is not known', { cel: Buffer.from('81a10b00', 'hex') }],
    ['CEL: CBOR that promises more', { cel: Buffer.from('9affffffff', 'hex') }],
  ])('%s', (_, logs) => {
    expect(refusalOf(() => verify(it, logs))).toEqual({
      code: 'VERIFY_EVENT_LOG',
      check: 'event log',
    })
  })

  test('IMA data are what the digest is of, whatever the template', () => {
    const data = imaData({ path: '/x', content: 'x' })
    expect(
      digestOf('sha1', data).equals(makeImaLog([{ path: '/x', content: 'x' }]).subarray(4, 24)),
    ).toBe(true)
  })
})
