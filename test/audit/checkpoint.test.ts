import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { AuditRecord } from '../../src/audit/audit.ts'
import { type Checkpoints, startCheckpoints } from '../../src/audit/checkpoint.ts'
import { type AuditFile, openAuditFile } from '../../src/audit/file.ts'
import { verifyAudit } from '../../src/audit/verify.ts'
import { MetabindError } from '../../src/errors.ts'
import { AGENT } from '../../src/shares.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const EVERY_MS = 60_000

let directory: string
let path: string
let file: AuditFile
let faults: MetabindError[]
let signed: number
/** Thrown in place of a signature. */
let failure: Error | undefined
let checkpoints: Checkpoints

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  directory = mkdtempSync('/tmp/mb-checkpoint-')
  path = join(directory, 'audit.log')
  file = openAuditFile(path, { onFault: () => undefined, onLost: () => undefined })
  faults = []
  signed = 0
  failure = undefined
  const signer = {
    key: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
    sign: async (message: Buffer) => {
      signed += 1
      if (failure !== undefined) throw failure
      return sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' })
    },
  }
  checkpoints = startCheckpoints(file, signer, append, EVERY_MS, (error) => faults.push(error))
})

afterEach(async () => {
  checkpoints.end()
  vi.useRealTimers()
  await file.close()
  rmSync(directory, { recursive: true })
})

function append(record: AuditRecord): void {
  file.append({ time: '2026-01-01T00:00:00.000Z', ...record }, AGENT)
}

const verdict = () => {
  const lines = readFileSync(path, 'latin1').split('\n').slice(0, -1)
  return verifyAudit([{ name: path, lines }], { key: publicKey })
}

test('the end of the chain is signed, with what was appended before, and is in the file then', async () => {
  append({ event: 'agent.started' })
  await checkpoints.now()
  expect(verdict()).toMatchObject({ records: 3, checkpoints: 1, signedUpTo: 2, broken: undefined })
})

test('nothing is signed if no more was added than the last checkpoint, or nothing but the beginning', async () => {
  await checkpoints.now()
  expect(signed).toBe(0)
  append({ event: 'agent.started' })
  await checkpoints.now()
  await checkpoints.now()
  expect(signed).toBe(1)
  append({ event: 'agent.ended' })
  await checkpoints.now()
  expect(signed).toBe(2)
  expect(verdict()).toMatchObject({ checkpoints: 2, signedUpTo: 4, unsigned: 0 })
})

test('two at once are one', async () => {
  append({ event: 'agent.started' })
  await Promise.all([checkpoints.now(), checkpoints.now()])
  expect([signed, verdict().checkpoints]).toEqual([1, 1])
})

test('what does not sign is told, and the next try signs', async () => {
  append({ event: 'agent.started' })
  failure = new MetabindError('TPM_ABSENT')
  await checkpoints.now()
  failure = new TypeError('a fault of the program')
  await checkpoints.now()
  expect(faults).toMatchObject([{ code: 'TPM_ABSENT' }, { code: 'INTERNAL', cause: failure }])
  expect(faults[0]?.cause).toBeUndefined()
  failure = undefined
  await checkpoints.now()
  expect(verdict()).toMatchObject({ records: 3, checkpoints: 1, broken: undefined })
})

test('it is done at intervals, until it is ended', async () => {
  append({ event: 'agent.started' })
  await vi.advanceTimersByTimeAsync(EVERY_MS - 1)
  await file.flush()
  expect(signed).toBe(0)
  await vi.advanceTimersByTimeAsync(1)
  await vi.waitFor(() => expect(verdict().checkpoints).toBe(1))
  append({ event: 'agent.ended' })
  checkpoints.end()
  await vi.advanceTimersByTimeAsync(2 * EVERY_MS)
  await file.flush()
  expect(signed).toBe(1)
})
