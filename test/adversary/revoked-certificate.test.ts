/**
 * Somebody has a TPM whose certificate its maker revoked, and sends evidence of it. They keep the maker's list back, hand over
 * the last one before, take the entry out of it, or give a list of their own in the maker's name.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { decodeEvidence, encodeEvidence } from '../../src/format/evidence.ts'
import { keyObjectOf } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import {
  CA_EXTENSIONS,
  EK_EXTENSIONS,
  ext,
  makeAuthority,
  makeEkCertificate,
  newKey,
} from '../harness/certificate.ts'
import { type CrlFields, crlExtension, der, entry, makeCrl, utcTime } from '../harness/crl.ts'
import { startVerifier } from '../harness/verifier.ts'

const KEY_ID = Buffer.alloc(20, 7)
const TIMES = { thisUpdate: utcTime('250101000000Z'), nextUpdate: utcTime('491231235959Z') }
const ENDED = { thisUpdate: utcTime('240101000000Z'), nextUpdate: utcTime('240201000000Z') }

test('a revoked certificate vouches for nothing', async () => {
  const { at, verify, asked } = await startVerifier()
  const genuine = decodeEvidence(await readFile(at('evidence')))
  const key = keyObjectOf(parsePublic(genuine.ek.public)).export({ type: 'spki', format: 'der' })
  const maker = makeAuthority('Maker', {
    extensions: [...CA_EXTENSIONS, ext.subjectKeyIdentifier(KEY_ID)],
  })
  const extensions = EK_EXTENSIONS.filter(({ oid }) => oid !== '2.5.29.35')
  const certificate = makeEkCertificate(maker, key, {
    extensions: [...extensions, ext.authorityKeyIdentifier(KEY_ID)],
  })
  const { serialNumber } = parseCertificate(certificate)
  const evidence = encodeEvidence({
    ...genuine,
    ek: { ...genuine.ek, certificates: [certificate] },
  })
  await writeFile(at('revoked'), evidence)
  await mkdir(at('makers'))
  await writeFile(at('makers/maker.der'), maker.der)
  const listed = async (fields: Partial<CrlFields>) => {
    const extensions = [crlExtension(35, der(0x30, der(0x80, KEY_ID)))]
    await writeFile(at('list.crl'), makeCrl({ issuer: maker, extensions, ...TIMES, ...fields }))
    return ['--crls', at('list.crl')]
  }
  const codeFor = async (...lists: readonly string[]) => {
    const trusted = [...asked, '--anchors', at('makers')]
    const { code, stderr } = await verify(at('revoked'), ...trusted, ...lists)
    return [code, /VERIFY_\w+/.exec(stderr)?.[0]]
  }
  const revoked = { entries: [entry('01'), entry(serialNumber)] }
  expect(await codeFor(...(await listed(revoked)))).toEqual([1, 'VERIFY_CERTIFICATE_REVOKED'])
  const unknown = [1, 'VERIFY_CERTIFICATE_CRL']
  expect(await codeFor('--demand-crls')).toEqual(unknown)
  expect(await codeFor(...(await listed(ENDED)))).toEqual(unknown)
  expect(await codeFor(...(await listed({ signer: newKey() })))).toEqual(unknown)
  const own = await listed({ issuer: makeAuthority('Maker'), extensions: undefined })
  expect(await codeFor(...own, '--demand-crls')).toEqual(unknown)
  // Not revoked, it would do: what is left is that nobody activated the key.
  const clean = await listed({ entries: [entry('01')] })
  expect(await codeFor(...clean, '--demand-crls')).toEqual([3, undefined])
})
