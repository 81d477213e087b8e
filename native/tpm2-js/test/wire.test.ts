import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { openTpm, type Tpm, type TpmCommands } from '../src/tpm.ts'
import { startProxy, type TpmProxy } from './proxy.ts'
import { type Swtpm, startSwtpm } from './swtpm.ts'
import { EK, EK_RSA, hmacKey } from './templates.ts'
import { heldHandles } from './tools.ts'

/** What somebody between the library and the TPM sees, and what they can change unnoticed. */

let swtpm: Swtpm
let proxy: TpmProxy
let direct: Tpm

beforeAll(async () => {
  swtpm = await startSwtpm()
  proxy = await startProxy(swtpm)
  direct = await openTpm({ tcti: swtpm.tcti, commandTimeoutMs: 5000 })
})

beforeEach(() => proxy.reset())

afterAll(async () => {
  await direct.close()
  await proxy.close()
  await swtpm.stop()
})

const DATA = Buffer.from('the data of the command')

async function throughProxy<T>(steps: (c: TpmCommands) => Promise<T>): Promise<T> {
  const tpm = await openTpm({ tcti: proxy.tcti, commandTimeoutMs: 5000 })
  try {
    return await tpm.sequence(steps)
  } finally {
    await tpm.close()
  }
}

/** HMAC in a session salted to `ek`, parameters encrypted both ways. */
const encryptedHmac = (ek: Uint8Array, strike: () => void) => async (c: TpmCommands) => {
  const tpmKey = await c.createPrimary('endorsement', ek)
  const key = await c.createPrimary('null', hmacKey('a'))
  const session = await c.startAuthSession({ type: 'hmac', tpmKey })
  await c.setSessionAttributes(session, { continueSession: true, decrypt: true, encrypt: true })
  strike()
  return await c.hmac(key, DATA, session)
}

const nothing = () => undefined
const plainHmac = async (c: TpmCommands) =>
  c.hmac(await c.createPrimary('null', hmacKey('a')), DATA)

test('without a session the HMAC passes in clear', async () => {
  const value = await throughProxy(plainHmac)
  expect(proxy.captured().includes(value)).toBe(true)
  expect(proxy.captured().includes(DATA)).toBe(true)
})

test.each([
  ['P-256', EK],
  ['RSA-2048', EK_RSA],
])('salted to a %s EK the HMAC is the same and does not pass in clear', async (_what, ek) => {
  const value = await throughProxy(encryptedHmac(ek, nothing))
  expect(value).toEqual(await direct.sequence(plainHmac))
  expect(proxy.captured().includes(value)).toBe(false)
  expect(proxy.captured().includes(DATA)).toBe(false)
})

test('each flipped byte of a session response is refused, and nothing is left', async () => {
  let size = 0
  await throughProxy(
    encryptedHmac(EK, () => {
      proxy.tamper((response) => {
        size ||= response.length
        return response
      })
    }),
  )
  // Response: tag 2, size 4, rc 4, parameterSize 4, TPM2B outHMAC, then the session's area.
  expect(size).toBe(2 + 4 + 4 + 4 + 34 + (2 + 32 + 1 + 2 + 32))
  for (const at of flippedPositions(size)) {
    let left = 1
    const strike = () => proxy.tamper((response) => (left-- > 0 ? flipped(response, at) : response))
    const error = await throughProxy(encryptedHmac(EK, strike)).catch((caught: unknown) => caught)
    expect(error, `byte ${at}`).toMatchObject({ name: 'TpmError' })
    expect(await direct.sequence(heldHandles), `byte ${at}`).toEqual([])
  }
})

test('a flipped byte of the encrypted value is TPM_RESPONSE, and the context is broken', async () => {
  const tpm = await openTpm({ tcti: proxy.tcti, commandTimeoutMs: 5000 })
  const strike = () => proxy.tamper((response) => flipped(response, 20))
  const error = await tpm.sequence(encryptedHmac(EK, strike)).catch((caught: unknown) => caught)
  expect(error).toMatchObject({
    code: 'TPM_RESPONSE',
    layer: 'esys',
    rcName: 'TSS2_RC_RSP_AUTH_FAILED',
    retry: false,
  })
  proxy.reset()
  await expect(tpm.sequence((c) => c.getRandom(8))).rejects.toBe(error)
  await tpm.close()
})

test('another TPM behind the same path fails the session', async () => {
  const other = await startSwtpm()
  const second = await openTpm({ tcti: other.tcti })
  try {
    const salted = throughProxy(async (c) => {
      const own = await c.createPrimary('endorsement', EK)
      // The interposer substitutes the public key of a TPM that it does not control.
      const { publicArea } = await second.sequence((s) => s.createPrimary('endorsement', EK))
      const wrong = await c.loadExternal(publicArea)
      expect(wrong.name).not.toEqual(own.name)
      return await c.startAuthSession({ type: 'hmac', tpmKey: wrong })
    })
    await expect(salted).rejects.toMatchObject({ code: 'TPM_RC' })
  } finally {
    await second.close()
    await other.stop()
  }
})

/** All but the size fields: a wrong length makes the reader wait for bytes that never come. */
function flippedPositions(size: number): number[] {
  return Array.from({ length: size }, (_, at) => at).filter((at) => at < 2 || at > 5)
}

function flipped(response: Buffer, at: number): Buffer {
  const changed = Buffer.from(response)
  changed.writeUInt8(changed.readUInt8(at) ^ 0x01, at)
  return changed
}
