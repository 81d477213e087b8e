/**
 * The self-signed certificate of the simulator's key, with the fields of the vendor's
 * (ECS user guide, "Instance identity"): six-part name, four-byte serial, a subject key identifier, no CA.
 */
import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto'
import { type AsnType, BitString, Set as DerSet, Integer, PrintableString, UTCTime } from 'asn1js'
import {
  algorithm,
  bufferOf,
  decode,
  encode,
  explicit,
  integer,
  OID,
  octets,
  oid,
  sequence,
} from './der.ts'

export interface SelfSignedCertificate {
  readonly der: Buffer
  /** What a signer identifier names it by. */
  readonly issuer: AsnType
  readonly serialNumber: AsnType
}

/** C, ST, L, O, OU, CN: the order of the vendor's name. */
const NAME_OIDS = ['2.5.4.6', '2.5.4.8', '2.5.4.7', '2.5.4.10', '2.5.4.11', '2.5.4.3']
const VALIDITY_YEARS = 10

export function selfSign(privateKey: KeyObject): SelfSignedCertificate {
  // The first byte keeps DER from shortening or padding it: always four bytes, like the vendor's.
  const serialNumber = integer(Buffer.concat([Buffer.from([0x66]), randomBytes(3)]))
  const issuer = distinguishedName('Simulator')
  const toBeSigned = sequence(
    explicit(0, new Integer({ value: 2 })),
    serialNumber,
    algorithm(OID.sha256WithRsa),
    issuer,
    validity(new Date().getUTCFullYear()),
    issuer,
    ...publicKeyFields(createPublicKey(privateKey)),
  )
  const signature = sign('sha256', encode(toBeSigned), privateKey)
  const certificate = sequence(toBeSigned, algorithm(OID.sha256WithRsa), bits(signature))
  return { der: encode(certificate), issuer, serialNumber }
}

export function toPem(certificate: SelfSignedCertificate): string {
  const lines = certificate.der.toString('base64').match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}

function distinguishedName(value: string): AsnType {
  const attributes = NAME_OIDS.map((type) => sequence(oid(type), new PrintableString({ value })))
  return sequence(...attributes.map((attribute) => new DerSet({ value: [attribute] })))
}

function validity(year: number): AsnType {
  const newYear = (of: number) => new UTCTime({ valueDate: new Date(Date.UTC(of, 0, 1)) })
  return sequence(newYear(year), newYear(year + VALIDITY_YEARS))
}

function publicKeyFields(publicKey: KeyObject): AsnType[] {
  const keyBits = publicKey.export({ type: 'pkcs1', format: 'der' })
  const identifier = octets(createHash('sha1').update(keyBits).digest())
  const extension = sequence(oid(OID.subjectKeyIdentifier), octets(encode(identifier)))
  return [
    decode(publicKey.export({ type: 'spki', format: 'der' })),
    explicit(3, sequence(extension)),
  ]
}

function bits(bytes: Buffer): BitString {
  return new BitString({ valueHex: bufferOf(bytes) })
}
