import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { COMMANDS, startFaultingProxy } from '../../native/tpm2-js/test/faulting-proxy.ts'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { keyObjectOf } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { EK_TEMPLATES } from '../../src/format/tpm-templates.ts'
import type { Endorsement } from '../../src/identity/endorsement.ts'
import { createInstanceKeys, type InstanceTpm, instanceTpm } from '../../src/identity/tpm.ts'
import { type Issuer, makeAuthority, makeEkCertificate } from '../harness/certificate.ts'
import {
  defineNv,
  EK_CERTIFICATE_NV,
  EK_CHAIN_NV,
  EK_NONCE_NV,
  EK_TEMPLATE_NV,
  fillNv,
  writeNv,
} from '../harness/nv.ts'

/** What the NV memory of a real TPM says of its EK (TCG EK Credential Profile). */

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

describe('a certificate in NV is read', () => {
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
    await writeNv(swtpm, 0x01c0001c, der)
    expect((await endorsement()).kind).toBe('RSA-3072')
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

describe('an index that is there and cannot be read', () => {
  const WRITER = 'ppwrite|ppread|platformcreate|no_da'
  const filled =
    (attributes: string, password = '') =>
    async (index: number) => {
      await defineNv(swtpm, index, 4, attributes, password)
      await fillNv(swtpm, index, Buffer.from('text'))
    }
  const UNREADABLE: readonly (readonly [string, (index: number) => Promise<void>, string])[] = [
    ['is not written', (index) => defineNv(swtpm, index, 4), 'TPM_RC_NV_UNINITIALIZED'],
    ['is for its owner alone', filled(WRITER), 'TPM_RC_AUTH_UNAVAILABLE'],
    ['has a password', filled(`${WRITER}|authread`, 'secret'), 'TPM_RC_BAD_AUTH'],
    ['has a policy', filled(`${WRITER}|policyread`), 'TPM_RC_AUTH_UNAVAILABLE'],
  ]

  test.each(UNREADABLE)('and %s is taken for absent, and named', async (_how, make, says) => {
    await make(EK_CERTIFICATE_NV)
    const found = await endorsement()
    expect(found).toMatchObject({ kind: 'P-256', certificates: [] })
    expect(found.unreadable).toEqual([expect.stringContaining(`NV index 0x01c0000a: `)])
    expect(found.unreadable[0]).toContain(says)
  })

  test('leaves the certificate of another kind of key', async () => {
    await defineNv(swtpm, EK_CERTIFICATE_NV, 4)
    await writeNv(swtpm, 0x01c00002, await genuineCertificate())
    expect(await endorsement()).toMatchObject({
      kind: 'RSA-2048',
      unreadable: [expect.stringContaining('0x01c0000a')],
    })
  })

  test.each([
    ['nonce', EK_NONCE_NV],
    ['template', EK_TEMPLATE_NV],
    ['chain', EK_CHAIN_NV],
  ])('and is of the %s is taken for absent, too', async (_what, index) => {
    const der = await genuineCertificate()
    await writeNv(swtpm, EK_CERTIFICATE_NV, der)
    await defineNv(swtpm, index, 4)
    expect(await endorsement()).toMatchObject({
      template: EK_TEMPLATES[0]?.publicArea,
      certificates: [der],
      unreadable: [expect.stringContaining(`NV index 0x0${index.toString(16)}: `)],
    })
  })

  test('is not even asked for where certificates are ignored', async () => {
    await writeNv(swtpm, EK_CERTIFICATE_NV, await genuineCertificate())
    await using proxy = await startFaultingProxy(swtpm)
    const asked = instanceTpm(proxy.tcti, 10_000)
    const { endorsement: found } = await createInstanceKeys(asked, 'ignore')
    await asked.close()
    expect(found).toMatchObject({ kind: 'P-256', certificates: [], unreadable: [] })
    expect(proxy.seen).not.toContain(COMMANDS.NV_Read)
    expect(proxy.seen).not.toContain(COMMANDS.NV_ReadPublic)
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
