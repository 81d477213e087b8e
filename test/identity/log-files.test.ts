import { randomUUID } from 'node:crypto'
import { appendFileSync, closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import {
  CEL_BYTES_MAX,
  EVENT_LOG_BYTES_MAX,
  EVIDENCE_BYTES_MAX,
  type Evidence,
  encodeEvidence,
  IMA_LOG_BYTES_MAX,
  SYSTEMD_LOG_BYTES_MAX,
} from '../../src/format/evidence.ts'
import { gatherEvidence } from '../../src/identity/evidence.ts'
import { type LogFiles, readLogsAfter } from '../../src/identity/log-files.ts'
import { createInstanceKeys, instanceTpm } from '../../src/identity/tpm.ts'
import { pcrValuesOf } from '../../src/measurements/pcr-quote.ts'
import { replayLogs } from '../../src/measurements/replayed-logs.ts'
import { digestOf, imaDigest, makeCelJson, makeImaLog, makeSystemdLog } from '../harness/logs.ts'

/** Logs as files of a machine whose real TPM was extended by them. */

const SYSTEMD = [
  { pcr: 11, text: 'sysinit' },
  { pcr: 11, text: 'ready' },
]
const IMA = [{ path: '/sbin/init', content: 'init' }]

let stack: AsyncDisposableStack
let swtpm: Swtpm
let quoted: Evidence
beforeAll(async () => {
  stack = new AsyncDisposableStack()
  swtpm = await startSwtpm()
  stack.defer(() => swtpm.stop())
  for (const { pcr, text } of SYSTEMD) {
    await tpm2(swtpm, 'pcrextend', `${pcr}:sha256=${digestOf('sha256', text).toString('hex')}`)
  }
  for (const record of IMA) {
    await tpm2(swtpm, 'pcrextend', `10:sha256=${imaDigest(record, 'sha256').toString('hex')}`)
  }
  quoted = await evidenceOf(swtpm, [10, 11])
})
afterAll(() => stack.disposeAsync())

async function evidenceOf(of: Swtpm, pcrs: number[], logFiles: LogFiles = {}): Promise<Evidence> {
  const tpm = instanceTpm(of.tcti, 10_000)
  stack.defer(() => tpm.close())
  return gatherEvidence(tpm, await createInstanceKeys(tpm), {
    qualifier: { nonce: Buffer.alloc(32, 1) },
    dialect: 'aliyun',
    instanceId: 'i-bp1234567890abcdefgh',
    pcrs: { hash: 'sha256', pcrs },
    akCertificates: [],
    logs: (made) => readLogsAfter(logFiles, made),
    identityDocument: undefined,
  })
}

function file(content: Buffer): string {
  const path = join(swtpm.dir, `log-${randomUUID()}`)
  writeFileSync(path, content)
  return path
}

const replayedBy = (evidence: Evidence) =>
  replayLogs(evidence, pcrValuesOf(evidence.pcrs)).pcrs.map(({ pcr }) => pcr)

test('all logs are in evidence, read after the quote', async () => {
  const systemd = makeSystemdLog(SYSTEMD)
  const ima = makeImaLog(IMA)
  const cel = makeCelJson([])
  const paths = { systemd: file(systemd), ima: file(ima), cel: file(cel) }
  const evidence = await evidenceOf(swtpm, [10, 11], paths)
  expect(evidence.logs).toEqual({ systemd, ima, cel })
  expect(replayedBy(evidence)).toEqual([10, 11])
})

test('a descriptor that root opened is read from its start, each time', async () => {
  const path = file(makeSystemdLog(SYSTEMD))
  const systemd = openSync(path, 'r')
  try {
    for (const _ of [1, 2]) {
      const { logs } = await readLogsAfter({ systemd }, quoted)
      expect(logs?.systemd).toEqual(makeSystemdLog(SYSTEMD))
    }
  } finally {
    closeSync(systemd)
  }
})

describe('a log that is still written', () => {
  test('is read again, until it leads to the quoted value', async () => {
    const whole = makeSystemdLog(SYSTEMD)
    const first = makeSystemdLog(SYSTEMD.slice(0, 1))
    const systemd = file(first)
    // It is read once before anything is waited for.
    const logged = readLogsAfter({ systemd }, quoted)
    appendFileSync(systemd, whole.subarray(first.length))
    expect((await logged).logs).toEqual({ systemd: whole })
  })

  test('is read again while it ends within a record', async () => {
    const whole = makeSystemdLog(SYSTEMD)
    const systemd = file(whole.subarray(0, -20))
    const logged = readLogsAfter({ systemd }, quoted)
    appendFileSync(systemd, whole.subarray(-20))
    expect((await logged).logs).toEqual({ systemd: whole })
  })

  test('and does not lead there is in evidence as it is', async () => {
    const systemd = makeSystemdLog([{ pcr: 11, text: 'another' }])
    const { logs } = await readLogsAfter({ systemd: file(systemd) }, quoted)
    expect(logs).toEqual({ systemd })
  })
})

test('what is too long or malformed is left out, and named', async () => {
  const { eventLog, logs } = await readLogsAfter(
    {
      firmware: file(Buffer.alloc(EVENT_LOG_BYTES_MAX + 1)),
      systemd: file(makeSystemdLog(SYSTEMD).subarray(0, -9)),
      ima: file(Buffer.alloc(IMA_LOG_BYTES_MAX + 1)),
      cel: file(Buffer.from('no json')),
    },
    quoted,
  )
  expect(eventLog).toBeUndefined()
  expect(logs).toEqual({ leftOut: ['firmware', 'systemd', 'ima', 'cel'] })
})

test('what is not there or cannot be read is not named', async () => {
  const paths = { systemd: join(swtpm.dir, 'missing'), ima: swtpm.dir, cel: undefined }
  expect(await readLogsAfter(paths, quoted)).toEqual({})
})

test('evidence with the longest logs is no longer than evidence may be', () => {
  const logs = {
    systemd: Buffer.alloc(SYSTEMD_LOG_BYTES_MAX),
    ima: Buffer.alloc(IMA_LOG_BYTES_MAX),
    cel: Buffer.alloc(CEL_BYTES_MAX),
  }
  const certificates = Array.from({ length: 8 }, () => Buffer.alloc(16 * 1024))
  const longest = {
    ...quoted,
    ek: { ...quoted.ek, certificates },
    ak: { ...quoted.ak, certificates },
    eventLog: Buffer.alloc(EVENT_LOG_BYTES_MAX),
    logs,
    identityDocument: { pkcs7: Buffer.alloc(16 * 1024) },
  }
  expect(encodeEvidence(longest).length).toBeLessThan(EVIDENCE_BYTES_MAX)
})

test('of a bank that lacks some of the PCRs, those that it has are quoted', async () => {
  const partial = await startSwtpm()
  stack.defer(() => partial.stop())
  await tpm2(partial, 'pcrallocate', 'sha256:0,1,2,3,4,5,6,7,10')
  await partial.reset()
  const evidence = await evidenceOf(partial, [0, 7, 8, 10, 15])
  expect(Object.keys(evidence.pcrs.sha256 ?? {})).toEqual(['0', '7', '10'])
})
