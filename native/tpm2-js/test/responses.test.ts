import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { openTpm, type TpmCommands } from '../src/tpm.ts'
import { startProxy, type TpmProxy } from './proxy.ts'
import { type Swtpm, startSwtpm } from './swtpm.ts'
import { tpm2 } from './tools.ts'

/** A TPM whose answers are well-formed and not what was asked for. */

let swtpm: Swtpm
let proxy: TpmProxy

beforeAll(async () => {
  swtpm = await startSwtpm()
  proxy = await startProxy(swtpm)
  await tpm2(
    swtpm,
    'nvdefine',
    `0x${INDEX.toString(16)}`,
    '-s',
    `${NV_BYTES}`,
    '-a',
    'authread|authwrite',
  )
  await writeFile(join(swtpm.dir, 'data'), Buffer.alloc(NV_BYTES, 1))
  await tpm2(swtpm, 'nvwrite', `0x${INDEX.toString(16)}`, '-i', 'data')
})

afterEach(() => proxy.reset())

afterAll(async () => {
  await proxy.close()
  await swtpm.stop()
})

const INDEX = 0x0180_0001
const NV_BYTES = 64

/** What `steps` fails with when its commands have another answer. */
async function failureOf(
  answer: Buffer | ((passed: Buffer) => Buffer),
  steps: (c: TpmCommands) => Promise<unknown>,
): Promise<unknown> {
  const tpm = await openTpm({ tcti: proxy.tcti, commandTimeoutMs: 5000 })
  try {
    return await tpm.sequence(async (commands) => {
      proxy.tamper((passed) => (typeof answer === 'function' ? answer(passed) : answer))
      return await steps(commands).catch((error: unknown) => error)
    })
  } finally {
    proxy.reset()
    await tpm.close()
  }
}

/** A response to a command without sessions (Part 1, 18): tag, size, TPM_RC_SUCCESS, parameters. */
function response(...parameters: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parameters)
  return Buffer.concat([u16(0x8001), u32(10 + body.length), u32(0), body])
}

/** The same with the password as its session: no nonce, continueSession, no HMAC. */
function passwordResponse(...parameters: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parameters)
  const area = Uint8Array.of(0, 0, 1, 0, 0)
  const size = 10 + 4 + body.length + area.length
  return Buffer.concat([u16(0x8002), u32(size), u32(0), u32(body.length), body, area])
}

/** TPM2_PCR_Read: an update counter, one selected PCR of the SHA-256 bank, and its value. */
function pcrResponse(pcr: number, valueBytes: number): Buffer {
  const bitmap = Buffer.alloc(3)
  bitmap.writeUInt8(1 << (pcr & 7), pcr >> 3)
  const selection = [u32(1), u16(0x000b), Uint8Array.of(3), bitmap]
  return response(u32(7), ...selection, u32(1), sized(valueBytes))
}

const sized = (bytes: number) => Buffer.concat([u16(bytes), Buffer.alloc(bytes, 0xaa)])

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

const NONSENSE = { code: 'TPM_RESPONSE', layer: 'binding' }
const sha256 = (...pcrs: number[]) => [{ hash: 'sha256', pcrs }] as const

test('a TPM that keeps answering another PCR is TPM_RESPONSE', async () => {
  const error = await failureOf(pcrResponse(5, 32), (c) => c.pcrRead(sha256(0)))
  expect(error).toMatchObject(NONSENSE)
})

test('a TPM that keeps answering the first of two PCRs is TPM_RESPONSE', async () => {
  const error = await failureOf(pcrResponse(0, 32), (c) => c.pcrRead(sha256(0, 1)))
  expect(error).toMatchObject(NONSENSE)
})

test.each([31, 33, 0])('a SHA-256 PCR of %i bytes is TPM_RESPONSE', async (bytes) => {
  const error = await failureOf(pcrResponse(0, bytes), (c) => c.pcrRead(sha256(0)))
  expect(error).toMatchObject(NONSENSE)
})

test.each([15, 17, 0])('%i random bytes for 16 are TPM_RESPONSE', async (bytes) => {
  const error = await failureOf(response(sized(bytes)), (c) => c.getRandom(16))
  expect(error).toMatchObject(NONSENSE)
})

test.each([-1, 1])('a chunk of NV memory with %i byte more is TPM_RESPONSE', async (more) => {
  const answer = passwordResponse(sized(NV_BYTES + more))
  // The public area of the index, read without a session, comes as it is.
  const isData = (passed: Buffer) => passed.readUInt16BE(0) === 0x8002
  const error = await failureOf(
    (passed) => (isData(passed) ? answer : passed),
    (c) => c.nvRead(INDEX),
  )
  expect(error).toMatchObject(NONSENSE)
})

test('none of these breaks the connection', async () => {
  const tpm = await openTpm({ tcti: proxy.tcti, commandTimeoutMs: 5000 })
  await tpm.sequence(async (c) => {
    proxy.tamper(() => response(sized(15)))
    await expect(c.getRandom(16)).rejects.toMatchObject(NONSENSE)
    proxy.reset()
    expect(await c.getRandom(16)).toHaveLength(16)
  })
  expect(tpm.failure()).toBeUndefined()
  await tpm.close()
})
