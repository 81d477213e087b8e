import { createHash, createPublicKey, verify, X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTpm, type Tpm } from '../src/tpm.ts'
import { type Swtpm, startSwtpm } from './swtpm.ts'
import { AK, EK, EK_RSA, hmacKey, SIGNING } from './templates.ts'
import { flushTools, heldHandles, tpm2 } from './tools.ts'

/** What tpm2-tools 5.4, an independent user of the TPM, makes of our results and we of its. */

let swtpm: Swtpm
let tpm: Tpm

beforeAll(async () => {
  swtpm = await startSwtpm({ setup: true })
  tpm = await openTpm({ tcti: swtpm.tcti, commandTimeoutMs: 10_000 })
})

afterAll(async () => {
  expect(await tpm.sequence(heldHandles)).toEqual([])
  await tpm.close()
  await swtpm.stop()
})

const file = (name: string) => join(swtpm.dir, name)
const NONCE = new Uint8Array(32).fill(0x5a)

function sized(bytes: Uint8Array): Buffer {
  const size = Buffer.alloc(2)
  size.writeUInt16BE(bytes.length)
  return Buffer.concat([size, bytes])
}

test.each([
  ['EK P-256', EK],
  ['EK RSA-2048', EK_RSA],
  ['AK', AK],
  ['HMAC key', hmacKey('a')],
])('tpm2_loadexternal computes the same Name: %s', async (_what, template) => {
  const key = await tpm.sequence((c) => c.createPrimary('endorsement', template))
  await writeFile(file('key.pub'), sized(key.publicArea))
  await tpm2(swtpm, 'loadexternal', '-C', 'n', '-u', 'key.pub', '-c', 'key.ctx', '-n', 'key.name')
  await flushTools(swtpm)
  expect(await readFile(file('key.name'))).toEqual(Buffer.from(key.name))
})

test('the RSA EK is the one that swtpm_setup certified', async () => {
  const [key, persistent, certificate] = await tpm.sequence(async (c) => [
    await c.createPrimary('endorsement', EK_RSA),
    await c.readPublic(0x8101_0001),
    await c.nvRead(0x01c0_0002),
  ])
  expect(persistent.name).toEqual(key.name)
  const { n } = new X509Certificate(certificate).publicKey.export({ format: 'jwk' })
  // An RSA-2048 TPMT_PUBLIC ends with the modulus.
  expect(Buffer.from(String(n), 'base64url')).toEqual(Buffer.from(key.publicArea.slice(-256)))
})

test('tpm2_hmac of the same primary gives the same value', async () => {
  await writeFile(file('data'), 'some data')
  const attributes = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign'
  const args = ['-C', 'e', '-g', 'sha256', '-G', 'hmac', '-a', attributes, '-c', 'hmac.ctx']
  await tpm2(swtpm, 'createprimary', ...args)
  await tpm2(swtpm, 'flushcontext', '-t')
  await tpm2(swtpm, 'readpublic', '-c', 'hmac.ctx', '-o', 'hmac.pub')
  await tpm2(swtpm, 'flushcontext', '-t')
  const printed = await tpm2(swtpm, 'hmac', '--hex', '-c', 'hmac.ctx', 'data')
  await flushTools(swtpm)
  // The template that the tool used: its result with `unique` emptied.
  const template = (await readFile(file('hmac.pub'))).subarray(2, -34)
  const value = await tpm.sequence(async (c) => {
    const key = await c.createPrimary('endorsement', Buffer.concat([template, sized(Buffer.of())]))
    return await c.hmac(key, Buffer.from('some data'))
  })
  expect(Buffer.from(value).toString('hex')).toBe(printed.trim())
})

test('tpm2_checkquote accepts our quote', async () => {
  const { ak, quote } = await tpm.sequence(async (c) => {
    const ak = await c.createPrimary('endorsement', AK)
    return { ak, quote: await c.quote(ak, NONCE, [{ hash: 'sha256', pcrs: [0, 1, 7] }]) }
  })
  await writeFile(file('ak.pub'), sized(ak.publicArea))
  await writeFile(file('quote.msg'), quote.attest)
  await writeFile(file('quote.sig'), quote.signature)
  await tpm2(swtpm, 'pcrread', 'sha256:0,1,7', '-o', 'quote.pcrs')
  const qualification = Buffer.from(NONCE).toString('hex')
  const files = ['-u', 'ak.pub', '-m', 'quote.msg', '-s', 'quote.sig', '-f', 'quote.pcrs']
  await tpm2(swtpm, 'checkquote', ...files, '-l', 'sha256:0,1,7', '-q', qualification)
})

test('OpenSSL verifies sign, certify and getTime with the keys of their public areas', async () => {
  const digestOf = Buffer.from('message')
  const { ak, key, signature, certified, time } = await tpm.sequence(async (c) => {
    const ak = await c.createPrimary('endorsement', AK)
    const key = await c.createPrimary('endorsement', SIGNING)
    return {
      ak,
      key,
      signature: await c.sign(key, createHash('sha256').update(digestOf).digest()),
      certified: await c.certify(key, ak, NONCE),
      time: await c.getTime(ak, NONCE),
    }
  })
  expect(isSignedBy(key.publicArea, digestOf, signature)).toBe(true)
  expect(isSignedBy(ak.publicArea, certified.attest, certified.signature)).toBe(true)
  expect(isSignedBy(ak.publicArea, time.attest, time.signature)).toBe(true)
  // TPMS_ATTEST: magic and type (Part 2, 10.12.12).
  expect(Buffer.from(certified.attest).toString('hex', 0, 6)).toBe('ff5443478017')
  expect(Buffer.from(time.attest).toString('hex', 0, 6)).toBe('ff5443478019')
  expect(Buffer.from(certified.attest).includes(key.name)).toBe(true)
})

test.each([
  ['EK P-256', EK],
  ['EK RSA-2048', EK_RSA],
])('activateCredential opens what tpm2_makecredential made: %s', async (_what, template) => {
  const secret = Buffer.from('0123456789abcdef0123456789abcdef')
  const { ek, ak } = await tpm.sequence(async (c) => ({
    ek: await c.createPrimary('endorsement', template),
    ak: await c.createPrimary('endorsement', AK),
  }))
  await writeFile(file('ek.pub'), sized(ek.publicArea))
  await writeFile(file('secret'), secret)
  const name = Buffer.from(ak.name).toString('hex')
  await tpm2(swtpm, 'makecredential', '-u', 'ek.pub', '-s', 'secret', '-n', name, '-o', 'cred')
  await flushTools(swtpm)
  const [blob, encrypted] = await credentialFile(file('cred'))
  expect(Buffer.from(await activate(template, blob, encrypted))).toEqual(secret)
})

test('a credential for another object is TPM_RC_INTEGRITY of parameter 1', async () => {
  const made = await tpm.sequence(async (c) => {
    const ek = await c.createPrimary('endorsement', EK)
    return await c.makeCredential(ek, NONCE, (await c.createPrimary('endorsement', SIGNING)).name)
  })
  const { credentialBlob, encryptedSecret } = made
  await expect(activate(EK, credentialBlob, encryptedSecret)).rejects.toMatchObject({
    code: 'TPM_RC',
    rc: 0x1df,
    rcName: 'TPM_RC_INTEGRITY',
    subject: { kind: 'parameter', number: 1 },
  })
})

test('tpm2_activatecredential opens what makeCredential made', async () => {
  await tpm2(swtpm, 'createek', '-G', 'ecc', '-c', 'tool-ek.ctx', '-u', 'tool-ek.pub')
  await tpm2(swtpm, 'flushcontext', '-t')
  const ak = ['-G', 'ecc', '-g', 'sha256', '-s', 'ecdsa', '-c', 'tool-ak.ctx', '-n', 'tool-ak.name']
  await tpm2(swtpm, 'createak', '-C', 'tool-ek.ctx', ...ak)
  await flushTools(swtpm)
  const ekPublic = (await readFile(file('tool-ek.pub'))).subarray(2)
  const akName = await readFile(file('tool-ak.name'))
  const made = await tpm.sequence(async (c) =>
    c.makeCredential(await c.loadExternal(ekPublic), NONCE, akName),
  )
  const header = Buffer.from('badcc0de00000001', 'hex')
  const parts = [header, sized(made.credentialBlob), sized(made.encryptedSecret)]
  await writeFile(file('our.cred'), Buffer.concat(parts))
  await tpm2(swtpm, 'startauthsession', '--policy-session', '-S', 'session.ctx')
  await tpm2(swtpm, 'policysecret', '-S', 'session.ctx', '-c', 'e')
  const keys = ['-c', 'tool-ak.ctx', '-C', 'tool-ek.ctx', '-P', 'session:session.ctx']
  await tpm2(swtpm, 'activatecredential', ...keys, '-i', 'our.cred', '-o', 'opened')
  await flushTools(swtpm)
  expect(await readFile(file('opened'))).toEqual(Buffer.from(NONCE))
})

async function activate(ekTemplate: Uint8Array, blob: Uint8Array, encrypted: Uint8Array) {
  return await tpm.sequence(async (c) => {
    const ek = await c.createPrimary('endorsement', ekTemplate)
    const ak = await c.createPrimary('endorsement', AK)
    const session = await c.startAuthSession({ type: 'policy' })
    await c.policySecret(session, 'endorsement')
    return await c.activateCredential(ak, ek, blob, encrypted, session)
  })
}

/** The file of tpm2_makecredential: magic, version, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET. */
async function credentialFile(path: string): Promise<[Uint8Array, Uint8Array]> {
  const content = await readFile(path)
  const blobEnd = 10 + content.readUInt16BE(8)
  return [content.subarray(10, blobEnd), content.subarray(blobEnd + 2)]
}

/** A P-256 TPMT_PUBLIC ends with TPM2B x and TPM2B y; a TPMT_SIGNATURE is alg, hash, TPM2B r and s. */
function isSignedBy(publicArea: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const point = Buffer.from(publicArea.slice(-68))
  const [x, y] = [point.subarray(2, 34), point.subarray(36)]
  const jwk = { kty: 'EC', crv: 'P-256', x: x.toString('base64url'), y: y.toString('base64url') }
  const sig = Buffer.from(signature)
  const rEnd = 6 + sig.readUInt16BE(4)
  const padded = [sig.subarray(6, rEnd), sig.subarray(rEnd + 2)].map((part) =>
    Buffer.concat([Buffer.alloc(32 - part.length), part]),
  )
  const key = createPublicKey({ key: jwk, format: 'jwk' })
  return verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, Buffer.concat(padded))
}
