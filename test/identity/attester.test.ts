import { createHash, randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { EVENT_LOG_BYTES_MAX } from '../../src/format/evidence.ts'
import { type Attester, attesterOf } from '../../src/identity/attester.ts'
import type { LogFiles } from '../../src/identity/log-files.ts'
import { createInstanceKeys, instanceTpm } from '../../src/identity/tpm.ts'
import { makeSha1Log } from '../harness/event-log.ts'

/** The firmware's log of a real TPM's PCRs, in evidence and self-test. */

let stack: AsyncDisposableStack
let swtpm: Swtpm
const measured = createHash('sha256').update('firmware').digest()
beforeAll(async () => {
  stack = new AsyncDisposableStack()
  swtpm = await startSwtpm()
  stack.defer(() => swtpm.stop())
  await tpm2(swtpm, 'pcrextend', `0:sha256=${measured.toString('hex')}`)
})
afterAll(() => stack.disposeAsync())

async function attestation(firmware: string | undefined, others: LogFiles = {}): Promise<Attester> {
  const tpm = instanceTpm(swtpm.tcti, 10_000)
  stack.defer(() => tpm.close())
  const keys = await createInstanceKeys(tpm)
  const demands = { ekCertificate: 'prefer', ekInstance: 'prefer' } as const
  return attesterOf(
    {
      tpm,
      dialect: 'aliyun',
      pcrs: { hash: 'sha256', pcrs: [0, 1, 2, 3, 4, 5, 6, 7] },
      akCertificates: [],
      logFiles: { firmware, ...others },
      readIdentityDocument: async () => undefined,
      policy: () => ({ trust: {}, ...demands, identityDocument: 'prefer' }),
    },
    keys,
    {
      dialect: 'aliyun',
      instanceId: 'i-bp1234567890abcdefgh',
      ekName: keys.ek.name,
      akName: keys.ak.name,
      rkName: keys.rk.name,
    },
  )
}

/** A crypto-agile log (PC Client Platform Firmware Profile 1.06, 10) of SHA-256 digests into PCR 0. */
function logOf(...digests: Buffer[]): Buffer {
  const u32 = (value: number) => Buffer.from([value, value >> 8, value >> 16, value >> 24])
  const algorithms = Buffer.from('01000000 0b00 2000 00'.replaceAll(' ', ''), 'hex')
  const specId = Buffer.concat([Buffer.from('Spec ID Event03\0'), Buffer.alloc(8), algorithms])
  const head = [u32(0), u32(3), Buffer.alloc(20), u32(specId.length), specId]
  const events = digests.flatMap((digest) => [
    u32(0),
    u32(1),
    u32(1),
    Buffer.from('0b00', 'hex'),
    digest,
    u32(4),
    Buffer.from('text'),
  ])
  return Buffer.concat([...head, ...events])
}

async function fileWith(log: Buffer): Promise<string> {
  const path = join(swtpm.dir, `log-${randomBytes(4).toString('hex')}`)
  await writeFile(path, log)
  return path
}

test('a log that leads to the PCRs is in the evidence, and proven', async () => {
  const log = logOf(measured)
  const made = await attestation(await fileWith(log))
  expect((await made.evidence({ nonce: randomBytes(32) })).eventLog).toEqual(log)
  expect((await made.selfTest()).proven).toContain('event-log')
})

test('logs of other programs are in evidence, and cannot stop the agent', async () => {
  const systemd = await fileWith(Buffer.from('\x1e{}\n'))
  const cel = await fileWith(Buffer.from('[]'))
  const made = await attestation(await fileWith(logOf(measured)), { systemd, cel })
  const { logs } = await made.evidence({ nonce: randomBytes(32) })
  expect(logs).toEqual({ cel: Buffer.from('[]'), leftOut: ['systemd'] })
  expect((await made.selfTest()).lacked).not.toContain('all-replayed')
})

test.each([
  ['without the event', () => logOf()],
  ['with another event', () => logOf(createHash('sha256').update('other').digest())],
  ['with one event more', () => logOf(measured, measured)],
  ['that is none', () => Buffer.from('no log')],
])('a log %s is refused', async (_what, log) => {
  const made = await attestation(await fileWith(log()))
  await expect(made.selfTest()).rejects.toMatchObject({ code: 'VERIFY_EVENT_LOG' })
})

test.each([
  ['empty', () => Buffer.alloc(0)],
  ['in the form of TPM 1.2', () => makeSha1Log([{ pcr: 0, data: 'firmware' }])],
])('a log that is %s does not stop the agent, and is said to be lacking', async (_what, log) => {
  const made = await attestation(await fileWith(log()))
  expect((await made.selfTest()).lacked).toContain('event-log')
})

test('one that is missing, a directory or too long is left out, and said to be lacking', async () => {
  const directory = join(swtpm.dir, 'directory')
  await mkdir(directory)
  const long = await fileWith(Buffer.alloc(EVENT_LOG_BYTES_MAX + 1))
  for (const path of [join(swtpm.dir, 'missing'), directory, long]) {
    const made = await attestation(path)
    expect((await made.evidence({ nonce: randomBytes(32) })).eventLog).toBeUndefined()
    expect((await made.selfTest()).lacked).toContain('event-log')
  }
})
