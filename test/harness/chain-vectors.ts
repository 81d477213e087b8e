import type { KeyObject } from 'node:crypto'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { keyObjectOf } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { forge } from './attacker.ts'
import {
  AK_EXTENSIONS,
  CA_EXTENSIONS,
  EK_EXTENSIONS,
  ext,
  makeAuthorities,
  makeAuthority,
  makeCertificate,
  makeEkCertificate,
  newKey,
  newRsaKey,
  rsaSpki,
  spkiOf,
} from './certificate.ts'
import { type CrlFields, entry, makeCrl, utcTime } from './crl.ts'
import { gatherEvidence } from './evidence.ts'
import { type Altered, flipLast, type Vector, vector, withEk } from './vector.ts'
import { INSTANCE_ID, type VerifyCase } from './verify-case.ts'

/** Numbers of RSA keys that no issuer may have: title, bits, exponent. */
const RSA_NUMBERS = [
  ["an issuer's RSA key of 8200 bits", 8200, '010001'],
  ["an issuer's RSA exponent of 33 bits", 2048, '0100000001'],
  ["an issuer's RSA exponent of 1", 2048, '01'],
  ["an issuer's RSA exponent that is even", 2048, '010000'],
] as const

/** A chain of authorities above the EK certificate, each with its own faults. */
export const CHAIN_VECTORS: readonly Vector[] = [
  vector('no certificate and no pin', 'endorsement', 'VERIFY_UNANCHORED', ({ evidence }) => ({
    evidence: withEk(evidence, []),
    options: { ekInstance: 'ignore' },
  })),
  vector('no anchors', 'endorsement', 'VERIFY_UNANCHORED', ({ options }) => ({
    options: {
      trust: { identityCertificate: options.trust.identityCertificate ?? Buffer.alloc(0) },
      ekInstance: 'ignore',
    },
  })),
  vector(
    'EK certificate of another TPM',
    'endorsement',
    'VERIFY_CERTIFICATE_KEY',
    ({ evidence, authority }) => ({
      evidence: withEk(evidence, [makeEkCertificate(authority, spkiOf(newKey()))]),
      options: { ekInstance: 'ignore' },
    }),
  ),
  ekCertificate('an EK certificate of version 1', 'VERIFY_CERTIFICATE_PROFILE', { version: 1 }),
  ekCertificate('an EK certificate that is an authority', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: [...EK_EXTENSIONS.slice(1), ext.basicConstraints(true)],
  }),
  ekCertificate('an EK certificate without keyAgreement', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: EK_EXTENSIONS.map((each) => (each.oid === '2.5.29.15' ? ext.keyUsage(0) : each)),
  }),
  vector(
    "an RSA EK's certificate with keyAgreement alone",
    'endorsement',
    'VERIFY_CERTIFICATE_PROFILE',
    async ({ tpm, evidence, nonce, authority: issuer }) => {
      const { identityDocument = {} } = evidence
      const asked = { nonce, ekKind: 'RSA-2048', ...identityDocument } as const
      const bare = await gatherEvidence(tpm, { ...asked, certificates: [] })
      const key = keyObjectOf(parsePublic(bare.ek.public))
      const spki = key.export({ type: 'spki', format: 'der' })
      const certificate = makeEkCertificate(issuer, spki, { subject: INSTANCE_ID })
      return { evidence: withEk(bare, [certificate]), options: { ekInstance: 'ignore' } }
    },
  ),
  ekCertificate('an EK certificate for something else', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.37' ? ext.extKeyUsage('1.3.6.1.5.5.7.3.1') : each,
    ),
  }),
  ekCertificate('an EK certificate that names no TPM', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.17' ? ext.tpmName(['2.23.133.2.1']) : each,
    ),
  }),
  ekCertificate('an empty subject with a name that is not critical', 'VERIFY_CERTIFICATE_PROFILE', {
    subject: '',
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.17' ? ext.tpmName(undefined, false) : each,
    ),
  }),
  ekCertificate('an EK certificate that names two TPMs', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.17' ? ext.twice(ext.tpmName()) : each,
    ),
  }),
  ekCertificate('an EK certificate that names nothing', 'VERIFY_CERTIFICATE_PROFILE', {
    subject: '',
    extensions: EK_EXTENSIONS.filter((each) => each.oid !== '2.5.29.17'),
  }),
  ekCertificate('an EK certificate without authorityKeyIdentifier', 'VERIFY_CERTIFICATE_PROFILE', {
    extensions: EK_EXTENSIONS.filter((each) => each.oid !== '2.5.29.35'),
  }),
  vector('wrong root', 'endorsement', 'VERIFY_CERTIFICATE_ISSUER', ({ options }) => ({
    options: {
      trust: { ...options.trust, ekAnchors: [makeAuthority('Another Authority').der] },
      ekInstance: 'ignore',
    },
  })),
  vector(
    'wrong root of the same name',
    'endorsement',
    'VERIFY_CERTIFICATE_SIGNATURE',
    ({ options, authority }) => ({
      options: {
        trust: { ...options.trust, ekAnchors: [makeAuthority(authority.name).der] },
        ekInstance: 'ignore',
      },
    }),
  ),
  ekCertificate('expired', 'VERIFY_CERTIFICATE_TIME', {
    notAfter: new Date('2026-11-23T11:59:59Z'),
  }),
  ekCertificate('not yet valid', 'VERIFY_CERTIFICATE_TIME', {
    notBefore: new Date('2026-11-23T12:00:01Z'),
  }),
  ekCertificate('signed with SHA-1', 'VERIFY_CERTIFICATE_ALGORITHM', { hash: 'sha1' }),
  ekCertificate('unknown critical extension', 'VERIFY_CERTIFICATE_EXTENSION', {
    extensions: [...EK_EXTENSIONS, ext.unknown(true)],
  }),
  authority('an authority with an unknown critical extension', 'VERIFY_CERTIFICATE_EXTENSION', {
    extensions: [...CA_EXTENSIONS, ext.unknown(true)],
  }),
  authority('name constraints of nothing, though not critical', 'VERIFY_CERTIFICATE', {
    extensions: [...CA_EXTENSIONS, ext.raw('2.5.29.30', '3000')],
  }),
  revocation('a revoked EK certificate', 'VERIFY_CERTIFICATE_REVOKED', (serial) => ({
    entries: [entry(serial)],
  })),
  revocation('a revocation list that has ended', 'VERIFY_CERTIFICATE_CRL', () => ({
    nextUpdate: utcTime('261123115959Z'),
  })),
  vector('no list, though demanded', 'endorsement', 'VERIFY_CERTIFICATE_CRL', () => ({
    options: { demandCrls: true, ekInstance: 'ignore' },
  })),
  authority('names that the authority may not give', 'VERIFY_CERTIFICATE_NAMES', {
    // Permitted: a directoryName that begins with the common name a.
    extensions: [
      ...CA_EXTENSIONS,
      ext.raw('2.5.29.30', '3014 a012 3010 a40e 300c 310a 3008 0603550403 0c0161'),
    ],
  }),
  authority('an issuer that is no authority', 'VERIFY_CERTIFICATE_CA', {
    extensions: [ext.basicConstraints(false), ext.keyUsage(5)],
  }),
  authority('an issuer without basic constraints', 'VERIFY_CERTIFICATE_CA', {
    extensions: [ext.keyUsage(5)],
  }),
  authority('an issuer without keyCertSign', 'VERIFY_CERTIFICATE_KEY_USAGE', {
    extensions: [ext.basicConstraints(true), ext.keyUsage(6)],
  }),
  authority('an expired issuer', 'VERIFY_CERTIFICATE_TIME', {
    notAfter: new Date('2026-01-01'),
  }),
  authority('an issuer signed with SHA-1', 'VERIFY_CERTIFICATE_ALGORITHM', { hash: 'sha1' }),
  vector('path length', 'endorsement', 'VERIFY_CERTIFICATE_PATH_LENGTH', (subject) => {
    const root = makeAuthority('Root', {
      extensions: [ext.basicConstraints(true, 0), ext.keyUsage(5)],
    })
    const between = makeAuthority('Between', {}, root)
    return chained(subject, [makeEkCertificate(between, subject.ekSpki), between.der], [root.der])
  }),
  authority('odd path lengths: negative', 'VERIFY_CERTIFICATE', {
    extensions: [ext.raw('2.5.29.19', '3006 0101ff 0201ff', true), ext.keyUsage(5)],
  }),
  authority('odd path lengths: of nine bytes', 'VERIFY_CERTIFICATE', {
    extensions: [
      ext.raw('2.5.29.19', '300e 0101ff 0209 010000000000000001', true),
      ext.keyUsage(5),
    ],
  }),
  vector('a path of eight', 'endorsement', 'VERIFY_CERTIFICATE_ISSUER', (subject) => {
    const [root, ...between] = makeAuthorities(7)
    const issuer = between.at(-1) ?? root
    const leaf = makeEkCertificate(issuer, subject.ekSpki)
    return chained(subject, [leaf, ...between.map(({ der }) => der)], [root.der])
  }),
  vector('an expired anchor', 'endorsement', 'VERIFY_CERTIFICATE_TIME', (subject) => {
    const root = makeAuthority('Root', { notAfter: new Date('2026-01-01') })
    return chained(subject, [makeEkCertificate(root, subject.ekSpki)], [root.der])
  }),
  weakIssuer("an issuer's key on secp256k1", () => newKey('secp256k1')),
  weakIssuer("an issuer's RSA key of 1024 bits", () => newRsaKey(1024)),
  ...RSA_NUMBERS.map(([title, bits, exponent]) =>
    weakIssuer(title, () => newRsaKey(), {
      publicKey: rsaSpki(Buffer.alloc(bits / 8, 0xff), Buffer.from(exponent, 'hex')),
    }),
  ),
  ekCertificate('an extension that stands twice', 'VERIFY_CERTIFICATE', {
    extensions: [...EK_EXTENSIONS, ext.keyUsage(4)],
  }),
  ekCertificate('another signature algorithm inside than outside', 'VERIFY_CERTIFICATE', {
    outerHash: 'sha384',
  }),
  ekCertificate('an extension in BER: a length that is not minimal', 'VERIFY_CERTIFICATE', {
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.15' ? ext.raw(each.oid, '03 81 02 0308', true) : each,
    ),
  }),
  ekCertificate('an extension with a BOOLEAN of two bytes', 'VERIFY_CERTIFICATE', {
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.19' ? ext.raw(each.oid, '30 04 0102 0000', true) : each,
    ),
  }),
  ekCertificate('a key usage whose bit is an unused one', 'VERIFY_CERTIFICATE', {
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.15' ? ext.raw(each.oid, '03 02 04 08', true) : each,
    ),
  }),
  ekCertificate('an authorityKeyIdentifier that is none', 'VERIFY_CERTIFICATE', {
    extensions: EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.35' ? ext.raw(each.oid, '0400') : each,
    ),
  }),
  vector('bytes after the certificate', 'endorsement', 'VERIFY_CERTIFICATE', ({ evidence }) => ({
    evidence: withEk(
      evidence,
      evidence.ek.certificates.map((der) => Buffer.concat([der, Uint8Array.of(0)])),
    ),
    options: { ekInstance: 'ignore' },
  })),
  vector(
    'an altered certificate',
    'endorsement',
    'VERIFY_CERTIFICATE_SIGNATURE',
    ({ evidence }) => ({
      evidence: withEk(
        evidence,
        evidence.ek.certificates.map((der) => flipLast(der)),
      ),
      options: { ekInstance: 'ignore' },
    }),
  ),
  vector(
    'AK certificate for something else',
    'endorsement',
    'VERIFY_CERTIFICATE_PROFILE',
    (subject) =>
      akCertificate(
        subject,
        AK_EXTENSIONS.map((each) =>
          each.oid === '2.5.29.37' ? ext.extKeyUsage('2.23.133.8.1') : each,
        ),
      ),
  ),
  vector(
    'AK certificate without digitalSignature',
    'endorsement',
    'VERIFY_CERTIFICATE_PROFILE',
    (subject) =>
      akCertificate(
        subject,
        AK_EXTENSIONS.map((each) => (each.oid === '2.5.29.15' ? ext.keyUsage(4) : each)),
      ),
  ),
  vector('AK certificate of another key', 'endorsement', 'VERIFY_CERTIFICATE_KEY', (subject) =>
    akCertificate(subject, AK_EXTENSIONS, newKey()),
  ),
  vector(
    'EK certificate names another instance',
    'EK certificate: instance',
    'VERIFY_EK_INSTANCE',
    ({ evidence, authority, ekSpki }) => ({
      evidence: withEk(evidence, [
        makeEkCertificate(authority, ekSpki, { subject: 'i-bp0000000000000another' }),
      ]),
    }),
  ),
  vector(
    'EK certificate names nothing, where the instance is required',
    'EK certificate: instance',
    'VERIFY_EK_INSTANCE',
    ({ evidence, authority, ekSpki }) => ({
      evidence: withEk(evidence, [makeEkCertificate(authority, ekSpki)]),
      options: { ekInstance: 'require' },
    }),
  ),
]

function chained(
  { options, evidence }: VerifyCase,
  certificates: readonly Buffer[],
  ekAnchors: readonly Buffer[],
): Altered {
  return {
    evidence: withEk(evidence, certificates),
    options: { trust: { ...options.trust, ekAnchors }, ekInstance: 'ignore' },
  }
}

function ekCertificate(
  title: string,
  code: string,
  fields: Parameters<typeof makeEkCertificate>[2],
): Vector {
  return vector(title, 'endorsement', code, ({ evidence, authority, ekSpki }) => ({
    evidence: withEk(evidence, [
      makeEkCertificate(authority, ekSpki, { subject: INSTANCE_ID, ...fields }),
    ]),
    options: { ekInstance: 'ignore' },
  }))
}

function authority(
  title: string,
  code: string,
  fields: Parameters<typeof makeAuthority>[1],
): Vector {
  return vector(title, 'endorsement', code, (subject) => {
    const root = makeAuthority('Root')
    const between = makeAuthority('Between', fields, root)
    return chained(subject, [makeEkCertificate(between, subject.ekSpki), between.der], [root.der])
  })
}

/** The authority above the EK certificate has this key, whose signatures verify if it is whole. */
function weakIssuer(
  title: string,
  makeKey: () => KeyObject,
  fields: Parameters<typeof makeAuthority>[1] = {},
): Vector {
  return vector(title, 'endorsement', 'VERIFY_CERTIFICATE_ALGORITHM', (subject) => {
    const key = makeKey()
    const root = makeAuthority('Root')
    const between = makeAuthority('Between', { publicKey: spkiOf(key), ...fields }, root, key)
    return chained(subject, [makeEkCertificate(between, subject.ekSpki), between.der], [root.der])
  })
}

function akCertificate(
  { evidence, options, authority: issuer }: VerifyCase,
  extensions: typeof AK_EXTENSIONS,
  of?: KeyObject,
): Altered {
  const key = newKey()
  const certificate = makeCertificate({
    subject: 'AK',
    issuer: issuer.name,
    publicKey: spkiOf(of ?? key),
    signer: issuer.key,
    extensions,
  })
  const forgedEvidence = forge(evidence, { key })
  const ak = { ...forgedEvidence.ak, certificates: [certificate] }
  const { identityCertificate = Buffer.alloc(0) } = options.trust
  const trust = { akAnchors: [issuer.der], identityCertificate }
  return { evidence: { ...forgedEvidence, ak }, options: { trust, ekInstance: 'ignore' } }
}

/** A list of the authority of the EK certificate, whose serial number is given. */
function revocation(
  title: string,
  code: string,
  fieldsOf: (serial: string) => Partial<CrlFields>,
): Vector {
  return vector(title, 'endorsement', code, ({ evidence, options, authority: issuer }) => {
    const [certificate = Buffer.alloc(0)] = evidence.ek.certificates
    const crls = [makeCrl({ issuer, ...fieldsOf(parseCertificate(certificate).serialNumber) })]
    return { options: { trust: { ...options.trust, crls }, ekInstance: 'ignore' } }
  })
}
