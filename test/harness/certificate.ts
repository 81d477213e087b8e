import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import {
  type AsnType,
  BitString,
  Boolean as DerBoolean,
  Set as DerSet,
  GeneralizedTime,
  IA5String,
  Integer,
  Null,
  PrintableString,
  Utf8String,
} from 'asn1js'
import { parseDer } from '../../src/certificates/der.ts'
import {
  bufferOf,
  decode,
  encode,
  explicit,
  integer,
  octets,
  oid,
  sequence,
} from '../../src/simulate/der.ts'

/** Certificates for tests, genuine and forged: every field can be wrong. */

export interface Issuer {
  readonly der: Buffer
  readonly name: string
  readonly key: KeyObject
}

export interface Extension {
  readonly oid: string
  readonly critical?: boolean
  readonly value: Buffer
}

type Hash = 'sha1' | 'md5' | 'sha256' | 'sha384'
const STRING_TYPES = { utf8: Utf8String, printable: PrintableString, ia5: IA5String } as const
type StringType = keyof typeof STRING_TYPES

export interface CertificateFields {
  /** Common name; empty for an empty name. */
  readonly subject: string
  readonly issuer: string
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Buffer
  readonly signer: KeyObject
  readonly extensions?: readonly Extension[]
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly hash?: Hash
  /** Named outside of what is signed; `hash` when left out. */
  readonly outerHash?: Hash
  /** The string types of the names; UTF8String when left out. */
  readonly subjectAs?: StringType
  readonly issuerAs?: StringType
  readonly version?: 1 | 3
}

const SIGNATURE_OIDS = {
  ec: {
    sha1: '1.2.840.10045.4.1',
    md5: '',
    sha256: '1.2.840.10045.4.3.2',
    sha384: '1.2.840.10045.4.3.3',
  },
  rsa: {
    sha1: '1.2.840.113549.1.1.5',
    md5: '1.2.840.113549.1.1.4',
    sha256: '1.2.840.113549.1.1.11',
    sha384: '1.2.840.113549.1.1.12',
  },
} as const

let serial = 1

export function makeCertificate(fields: CertificateFields): Buffer {
  const { hash = 'sha256', outerHash = hash, version = 3, extensions = [] } = fields
  const serialNumber = Buffer.alloc(4)
  serialNumber.writeUInt32BE(0x1000_0000 + serial++)
  const toBeSigned = sequence(
    ...(version === 3 ? [explicit(0, new Integer({ value: 2 }))] : []),
    integer(serialNumber),
    algorithmOf(fields.signer, hash),
    nameOf(fields.issuer, fields.issuerAs),
    sequence(
      time(fields.notBefore ?? new Date('2020-01-01')),
      time(fields.notAfter ?? new Date('9999-12-31T23:59:59Z')),
    ),
    nameOf(fields.subject, fields.subjectAs),
    decode(fields.publicKey),
    ...(version === 3 ? [explicit(3, sequence(...extensions.map(encodeExtension)))] : []),
  )
  const signature = sign(hash, encode(toBeSigned), fields.signer)
  const outer = algorithmOf(fields.signer, outerHash)
  return encode(sequence(toBeSigned, outer, new BitString({ valueHex: bufferOf(signature) })))
}

function algorithmOf(signer: KeyObject, hash: Hash): AsnType {
  const isRsa = signer.asymmetricKeyType === 'rsa'
  const id = oid(SIGNATURE_OIDS[isRsa ? 'rsa' : 'ec'][hash])
  return sequence(id, ...(isRsa ? [new Null()] : []))
}

function time(date: Date): AsnType {
  return new GeneralizedTime({ valueDate: date })
}

function nameOf(commonName: string, as?: StringType): AsnType {
  if (commonName === '') return sequence()
  return sequence(new DerSet({ value: [attribute('2.5.4.3', commonName, as)] }))
}

function attribute(type: string, value: string, as: StringType = 'utf8'): AsnType {
  return sequence(oid(type), new STRING_TYPES[as]({ value }))
}

function encodeExtension({ oid: id, critical, value }: Extension): AsnType {
  const flag = critical === true ? [new DerBoolean({ value: true })] : []
  return sequence(oid(id), ...flag, octets(value))
}

export function spkiOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' })
}

export function newKey(namedCurve = 'P-256'): KeyObject {
  return generateKeyPairSync('ec', { namedCurve }).privateKey
}

export function newRsaKey(modulusLength = 2048, publicExponent = 65537): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey
}

/** SubjectPublicKeyInfo of an RSA key that nobody has: its numbers may be anything. */
export function rsaSpki(modulus: Buffer, exponent: Buffer): Buffer {
  const n = modulus.toString('base64url')
  const e = exponent.toString('base64url')
  const key = createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' })
  return key.export({ type: 'spki', format: 'der' })
}

export const ext = {
  basicConstraints: (ca: boolean, pathLength?: number): Extension => ({
    oid: '2.5.29.19',
    critical: true,
    value: encode(
      sequence(
        ...(ca ? [new DerBoolean({ value: true })] : []),
        ...(pathLength === undefined ? [] : [new Integer({ value: pathLength })]),
      ),
    ),
  }),
  /** Bits as RFC 5280 numbers them, all below 8. */
  keyUsage: (...bits: number[]): Extension => {
    const byte = bits.reduce((sum, bit) => sum | (0x80 >> bit), 0)
    return {
      oid: '2.5.29.15',
      critical: true,
      value: encode(
        new BitString({ valueHex: Uint8Array.of(byte).buffer, unusedBits: 7 - Math.max(...bits) }),
      ),
    }
  },
  extKeyUsage: (...purposes: string[]): Extension => ({
    oid: '2.5.29.37',
    value: encode(sequence(...purposes.map((purpose) => oid(purpose)))),
  }),
  authorityKeyIdentifier: (identifier: Buffer): Extension => ({
    oid: '2.5.29.35',
    value: Buffer.concat([
      Uint8Array.of(0x30, identifier.length + 2, 0x80, identifier.length),
      identifier,
    ]),
  }),
  subjectKeyIdentifier: (identifier: Buffer): Extension => ({
    oid: '2.5.29.14',
    value: encode(octets(identifier)),
  }),
  /** A value as it is. */
  raw: (id: string, hex: string, critical = false): Extension => ({
    oid: id,
    critical,
    value: Buffer.from(hex.replaceAll(' ', ''), 'hex'),
  }),
  /** One directoryName that names a TPM. */
  tpmName: (
    oids: readonly string[] = ['2.23.133.2.1', '2.23.133.2.2', '2.23.133.2.3'],
    critical = true,
  ): Extension => {
    const name = sequence(
      ...oids.map((type) => new DerSet({ value: [attribute(type, 'id:00001014')] })),
    )
    return { oid: '2.5.29.17', critical, value: encode(sequence(explicit(4, name))) }
  },
  /** A sequence's members, all of them twice. */
  twice: ({ value, ...extension }: Extension): Extension => {
    const members = parseDer(value).children.map(({ bytes }) => decode(bytes))
    return { ...extension, value: encode(sequence(...members, ...members)) }
  },
  unknown: (critical: boolean): Extension => ({
    oid: '1.3.6.1.4.1.99999.1',
    critical,
    value: encode(new PrintableString({ value: 'unknown' })),
  }),
}

const AKI = ext.authorityKeyIdentifier(Buffer.from('no key identifier is compared'.slice(0, 20)))

export const CA_EXTENSIONS: readonly Extension[] = [ext.basicConstraints(true), ext.keyUsage(5, 6)]
/** Of an elliptic curve's EK certificate. */
export const EK_EXTENSIONS: readonly Extension[] = [
  ext.basicConstraints(false),
  ext.keyUsage(4),
  ext.extKeyUsage('2.23.133.8.1'),
  ext.tpmName(),
  AKI,
]
export const AK_EXTENSIONS: readonly Extension[] = [
  ext.basicConstraints(false),
  ext.keyUsage(0),
  ext.extKeyUsage('2.23.133.8.3'),
  AKI,
]

/** A self-signed authority, or one under another. */
export function makeAuthority(
  name: string,
  fields: Partial<CertificateFields> = {},
  under?: Issuer,
  key: KeyObject = newKey(),
): Issuer {
  const der = makeCertificate({
    subject: name,
    issuer: under?.name ?? name,
    publicKey: spkiOf(key),
    signer: under?.key ?? key,
    extensions: CA_EXTENSIONS,
    ...fields,
  })
  return { der, name, key }
}

/** A root, and authorities below it, each under the one before. */
export function makeAuthorities(count: number): [Issuer, ...Issuer[]] {
  const root = makeAuthority('Root')
  const made: [Issuer, ...Issuer[]] = [root]
  while (made.length < count) {
    made.push(makeAuthority(`Authority ${made.length}`, {}, made.at(-1)))
  }
  return made
}

export function makeEkCertificate(
  authority: Issuer,
  publicKey: Buffer,
  fields: Partial<CertificateFields> = {},
): Buffer {
  return makeCertificate({
    subject: '',
    issuer: authority.name,
    publicKey,
    signer: authority.key,
    extensions: EK_EXTENSIONS,
    ...fields,
  })
}
