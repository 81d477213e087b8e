import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/test/swtpm.ts'
import type { Endorsement } from '../../src/boot/endorsement.ts'
import { createInstanceKeys, type InstanceTpm, instanceTpm } from '../../src/boot/tpm.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { EK_TEMPLATES } from '../../src/format/tpm-templates.ts'
import { keyObjectOf } from '../../src/verify/tpm-key.ts'
import { type Issuer, makeAuthority, makeEkCertificate } from '../harness/certificate.ts'
import {
  EK_CERTIFICATE_NV,
  EK_CHAIN_NV,
  EK_NONCE_NV,
  EK_TEMPLATE_NV,
  writeNv,
} from '../harness/nv.ts'

/** What the NV memory of a real TPM says of its EK (tpm.md, 38). */

let swtpm: Swtpm
let tpm: InstanceTpm
let authority: Issuer
beforeEach(async () => {
  swtpm = await startSwtpm()
  tpm = instanceTpm(swtpm.tcti, 10_000)
  authority = makeAuthority('Test EK Authority')
})
afterEach(async () => {
  await tpm.close()
  await swtpm.stop()
})

async function endorsement(): Promise<Endorsement> {
  return (await createInstanceKeys(tpm)).endorsement
}

async function ekName(): Promise<string> {
  return (await createInstanceKeys(tpm)).ek.name.toString('hex')
}

async function genuineCertificate(): Promise<Buffer> {
  const { ek } = await createInstanceKeys(tpm)
  const spki = keyObjectOf(parsePublic(ek.publicArea)).export({ type: 'spki', format: 'der' })
  return makeEkCertificate(authority, spki)
}

/** The PC Client header in front: tag, type, length of what follows. */
function withHeader(der: Buffer): Buffer {
  const header = Buffer.from('1001000000', 'hex')
  header.writeUInt16BE(der.length, 3)
  return Buffer.concat([header, der])
}

test('a TPM without EK certificates has a P-256 EK of the default template', async () => {
  const found = await endorsement()
  expect(found.kind).toBe('P-256')
  expect(found.template).toEqual(EK_TEMPLATES[0]?.publicArea)
  expect(found.certificates).toEqual([])
})

describe('38: a certificate in NV is read', () => {
  test.each([
    ['as it is', (der: Buffer) => der],
    ['behind the header 10 01 00', withHeader],
    ['in front of FF', (der: Buffer) => Buffer.concat([der, Buffer.alloc(100, 0xff)])],
    ['in front of 00', (der: Buffer) => Buffer.concat([der, Buffer.alloc(100)])],
    ['between both', (der: Buffer) => Buffer.concat([withHeader(der), Buffer.alloc(100, 0xff)])],
  ])('%s', async (_how, inNv) => {
    const der = await genuineCertificate()
    await writeNv(swtpm, EK_CERTIFICATE_NV, inNv(der))
    expect((await endorsement()).certificates).toEqual([der])
  })

  test('and its issuers behind it, though they cross from one index into the next', async () => {
    const root = makeAuthority('Root')
    const between = makeAuthority('Between', {}, root)
    const der = await genuineCertificate()
    const chain = Buffer.concat([between.der, root.der])
    await writeNv(swtpm, EK_CERTIFICATE_NV, der)
    await writeNv(swtpm, EK_CHAIN_NV, chain.subarray(0, 200))
    await writeNv(swtpm, EK_CHAIN_NV + 1, Buffer.concat([chain.subarray(200), Buffer.alloc(9)]))
    // Behind a gap: not of the chain any more.
    await writeNv(swtpm, EK_CHAIN_NV + 3, root.der)
    expect((await endorsement()).certificates).toEqual([der, between.der, root.der])
  })

  test('of RSA, where there is none of an elliptic curve', async () => {
    const der = await genuineCertificate()
    await writeNv(swtpm, 0x01c00002, der)
    expect((await endorsement()).kind).toBe('RSA-2048')
    await writeNv(swtpm, EK_CERTIFICATE_NV, der)
    expect((await endorsement()).kind).toBe('P-256')
  })

  test.each([
    ['text', Buffer.from('no certificate at all')],
    ['a certificate that is cut short', Buffer.from('3082ffff', 'hex')],
    ['a length in three bytes', Buffer.from('308300000100', 'hex')],
  ])('%s is refused', async (_what, bytes) => {
    await writeNv(swtpm, EK_CERTIFICATE_NV, bytes)
    await expect(endorsement()).rejects.toMatchObject({ code: 'VERIFY_CERTIFICATE' })
  })
})

describe('the nonce index', () => {
  test('makes another EK, which is the same each time', async () => {
    const plain = await ekName()
    await writeNv(swtpm, EK_NONCE_NV, Buffer.alloc(32, 7))
    const other = await ekName()
    expect(other).not.toBe(plain)
    expect(await ekName()).toBe(other)
    await writeNv(swtpm, EK_NONCE_NV, Buffer.alloc(20, 7))
    expect([plain, other]).not.toContain(await ekName())
  })

  test('is refused where it is too long to be one', async () => {
    await writeNv(swtpm, EK_NONCE_NV, Buffer.alloc(33, 7))
    await expect(ekName()).rejects.toMatchObject({ code: 'TPM_NV' })
  })
})

describe('the template index', () => {
  test('replaces template and nonce', async () => {
    const template = Buffer.from(EK_TEMPLATES[0]?.publicArea ?? [])
    template.fill(9, 56, 60)
    await writeNv(swtpm, EK_TEMPLATE_NV, template)
    await writeNv(swtpm, EK_NONCE_NV, Buffer.alloc(32, 7))
    expect((await endorsement()).template).toEqual(template)
    const fromTemplate = await ekName()
    await writeNv(swtpm, EK_TEMPLATE_NV, EK_TEMPLATES[0]?.publicArea ?? Buffer.of())
    expect(await ekName()).not.toBe(fromTemplate)
  })

  test('is refused where it holds no template', async () => {
    await writeNv(swtpm, EK_TEMPLATE_NV, Buffer.from('no template'))
    await expect(ekName()).rejects.toMatchObject({ code: 'TPM_NV' })
  })
})
