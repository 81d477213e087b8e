import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTpm, type Tpm, type TpmCommands } from '../src/tpm.ts'
import { type Swtpm, startSwtpm } from './swtpm.ts'
import { AK, EK, hmacKey, nameOf, POLICY_A, SIGNING } from './templates.ts'
import { heldHandles, tpm2 } from './tools.ts'

let swtpm: Swtpm
let tpm: Tpm

beforeAll(async () => {
  swtpm = await startSwtpm()
  tpm = await openTpm({ tcti: swtpm.tcti, commandTimeoutMs: 5000 })
})

afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
})

/** Runs steps and checks that they left nothing in the TPM, whatever became of them. */
async function inTpm<T>(steps: (commands: TpmCommands) => Promise<T>): Promise<T> {
  try {
    return await tpm.sequence(steps)
  } finally {
    expect(await tpm.sequence(heldHandles)).toEqual([])
  }
}

const NONCE = new Uint8Array(32).fill(7)

test('getCapability returns the manufacturer and says that there is more', async () => {
  const { more, data } = await inTpm((c) => c.getCapability(6, 0x105, 1))
  expect(Buffer.from(data).toString('latin1')).toContain('IBM')
  expect(more).toBe(true)
})

test('getRandom returns as many bytes as asked for, with and without a session', async () => {
  const [plain, encrypted] = await inTpm(async (c) => {
    const tpmKey = await c.createPrimary('endorsement', EK)
    const session = await c.startAuthSession({ type: 'hmac', tpmKey })
    await c.setSessionAttributes(session, { continueSession: true, encrypt: true })
    return [await c.getRandom(20), await c.getRandom(20, session)]
  })
  expect([plain.length, encrypted.length]).toEqual([20, 20])
  expect(plain).not.toEqual(encrypted)
})

test('readClock agrees with tpm2_readclock', async () => {
  const clock = await inTpm((c) => c.readClock())
  const text = await tpm2(swtpm, 'readclock')
  expect(text).toContain(`reset_count: ${clock.resetCount}`)
  expect(text).toContain(`restart_count: ${clock.restartCount}`)
  expect(clock.timeMs).toBeGreaterThan(0n)
})

test.each(['owner', 'endorsement', 'null', 'platform'] as const)(
  'createPrimary in the %s hierarchy has the Name of its public area',
  async (hierarchy) => {
    const key = await inTpm((c) => c.createPrimary(hierarchy, hmacKey('a')))
    expect(Buffer.from(key.name)).toEqual(nameOf(key.publicArea))
    expect(key.publicArea.slice(0, 14)).toEqual(hmacKey('a').slice(0, 14))
  },
)

test('hmac depends on key and data', async () => {
  const values = await inTpm(async (c) => {
    const a = await c.createPrimary('null', hmacKey('a'))
    const b = await c.createPrimary('null', hmacKey('b'))
    const long = new Uint8Array(1024)
    return [await c.hmac(a, NONCE), await c.hmac(b, NONCE), await c.hmac(a, long)]
  })
  expect(new Set(values.map((value) => Buffer.from(value).toString('hex'))).size).toBe(3)
  expect(values.map((value) => value.length)).toEqual([32, 32, 32])
})

test('an object with an auth value works, and a session may authorize it', async () => {
  const [withPassword, withSession] = await inTpm(async (c) => {
    const key = await c.createPrimary('owner', hmacKey('a'), { auth: Buffer.from('secret') })
    const session = await c.startAuthSession({ type: 'hmac' })
    return [await c.hmac(key, NONCE), await c.hmac(key, NONCE, session)]
  })
  expect(withPassword).toEqual(withSession)
})

test('a SHA-384 session salted to the EK gives the same HMAC', async () => {
  const [plain, salted] = await inTpm(async (c) => {
    const tpmKey = await c.createPrimary('endorsement', EK)
    const key = await c.createPrimary('null', hmacKey('a'))
    const session = await c.startAuthSession({ type: 'hmac', tpmKey, hash: 'sha384' })
    await c.setSessionAttributes(session, { continueSession: true, encrypt: true, decrypt: true })
    return [await c.hmac(key, NONCE), await c.hmac(key, NONCE, session)]
  })
  expect(salted).toEqual(plain)
})

test('a session without continueSession is gone after its use, and nothing complains', async () => {
  await inTpm(async (c) => {
    const key = await c.createPrimary('null', hmacKey('a'))
    const session = await c.startAuthSession({ type: 'hmac' })
    await c.setSessionAttributes(session, {})
    await c.hmac(key, NONCE, session)
    expect(await heldHandles(c)).toEqual([0x8000_0000])
  })
})

test('policySecret of the endorsement hierarchy is PolicyA', async () => {
  const digest = await inTpm(async (c) => {
    const session = await c.startAuthSession({ type: 'trial' })
    await c.policySecret(session, 'endorsement')
    return await c.policyGetDigest(session)
  })
  expect(Buffer.from(digest).toString('hex')).toBe(POLICY_A)
})

test('policyPcr has the digest of Part 3, 23.7', async () => {
  const [digest, pcrs] = await inTpm(async (c) => {
    const session = await c.startAuthSession({ type: 'trial' })
    await c.policyPcr(session, [{ hash: 'sha256', pcrs: [0, 7] }])
    return [await c.policyGetDigest(session), await c.pcrRead([{ hash: 'sha256', pcrs: [0, 7] }])]
  })
  const sha256 = (...parts: Uint8Array[]) =>
    createHash('sha256').update(Buffer.concat(parts)).digest()
  const values = [...(pcrs.banks[0]?.values.values() ?? [])]
  const selection = Buffer.from('0000017f00000001000b03810000', 'hex')
  expect(Buffer.from(digest)).toEqual(sha256(new Uint8Array(32), selection, sha256(...values)))
})

test('loadExternal and flushContext', async () => {
  await inTpm(async (c) => {
    const { publicArea, name } = await c.createPrimary('endorsement', EK)
    const external = await c.loadExternal(publicArea)
    expect(external.name).toEqual(name)
    await c.flushContext(external)
    expect(await heldHandles(c)).toEqual([0x8000_0000])
  })
})

test('readPublic and objectAt of a persistent handle', async () => {
  await tpm2(swtpm, 'createprimary', '-C', 'o', '-g', 'sha256', '-G', 'ecc', '-c', 'srk.ctx')
  await tpm2(swtpm, 'evictcontrol', '-c', 'srk.ctx', '0x81000001')
  await tpm2(swtpm, 'flushcontext', '-t')
  await tpm2(swtpm, 'readpublic', '-c', '0x81000001', '-n', 'srk.name')
  const read = await inTpm((c) => c.readPublic(0x8100_0001))
  const key = await inTpm((c) => c.objectAt(0x8100_0001))
  expect(Buffer.from(read.name)).toEqual(nameOf(read.publicArea))
  const qualified = createHash('sha256').update(
    Buffer.concat([Buffer.from('40000001', 'hex'), read.name]),
  )
  expect(Buffer.from(read.qualifiedName).subarray(2)).toEqual(qualified.digest())
  expect(key).toMatchObject({ name: read.name, publicArea: read.publicArea })
})

test('readPublic of an empty persistent handle is TPM_RC_HANDLE', async () => {
  await expect(inTpm((c) => c.readPublic(0x8100_0042))).rejects.toMatchObject({
    code: 'TPM_RC',
    rcName: 'TPM_RC_HANDLE',
  })
})

test('nvRead reads an index larger than one TPM2_NV_Read', async () => {
  const content = Buffer.alloc(1500, 'metadata')
  await writeFile(`${swtpm.dir}/nv`, content)
  const attributes = 'ownerwrite|ownerread|authread'
  await tpm2(swtpm, 'nvdefine', '0x1500001', '-C', 'o', '-s', '1500', '-a', attributes)
  await tpm2(swtpm, 'nvwrite', '0x1500001', '-C', 'o', '-i', 'nv')
  const [data, nvPublic] = await inTpm(async (c) => [
    await c.nvRead(0x150_0001),
    await c.nvReadPublic(0x150_0001),
  ])
  expect(Buffer.from(data)).toEqual(content)
  expect(nvPublic.dataBytes).toBe(1500)
  expect(Buffer.from(nvPublic.name)).toEqual(nameOf(nvPublic.nvPublic))
})

test('nvRead of an absent index is 0x18B', async () => {
  await expect(inTpm((c) => c.nvRead(0x01c0_0002))).rejects.toMatchObject({
    code: 'TPM_RC',
    rc: 0x18b,
    layer: 'tpm',
    subject: { kind: 'handle', number: 1 },
  })
})

test('pcrRead returns all 24 PCRs of two banks', async () => {
  await tpm2(swtpm, 'pcrextend', `10:sha256=${'ab'.repeat(32)}`)
  const all = Array.from({ length: 24 }, (_, pcr) => pcr)
  const { banks } = await inTpm((c) =>
    c.pcrRead([
      { hash: 'sha256', pcrs: all },
      { hash: 'sha384', pcrs: all },
    ]),
  )
  expect(banks.map(({ hash, values }) => [hash, values.size])).toEqual([
    ['sha256', 24],
    ['sha384', 24],
  ])
  const extended = createHash('sha256')
    .update(Buffer.concat([new Uint8Array(32), Buffer.alloc(32, 0xab)]))
    .digest()
  expect(banks[0]?.values.get(10)).toEqual(Uint8Array.from(extended))
  expect(banks[1]?.values.get(0)).toEqual(new Uint8Array(48))
})

test('a restricted key does not sign a digest that the TPM did not make', async () => {
  await expect(
    inTpm(async (c) => c.sign(await c.createPrimary('endorsement', AK), NONCE)),
  ).rejects.toMatchObject({ code: 'TPM_RC', rcName: 'TPM_RC_TICKET' })
})

test('a hierarchy with a password is TPM_RC_BAD_AUTH of session 1', async () => {
  await tpm2(swtpm, 'changeauth', '-c', 'owner', 'pass')
  try {
    await expect(inTpm((c) => c.createPrimary('owner', SIGNING))).rejects.toMatchObject({
      rc: 0x9a2,
      rcName: 'TPM_RC_BAD_AUTH',
      subject: { kind: 'session', number: 1 },
      retry: false,
    })
  } finally {
    await tpm2(swtpm, 'changeauth', '-c', 'owner', '-p', 'pass')
  }
})
