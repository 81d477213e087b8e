/** The few DER forms that a certificate and a SignedData are made of. */
import {
  type AsnType,
  Constructed,
  fromBER,
  Integer,
  Null,
  ObjectIdentifier,
  OctetString,
  Sequence,
} from 'asn1js'

export const OID = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  sha1: '1.3.14.3.2.26',
  rsaEncryption: '1.2.840.113549.1.1.1',
  sha256WithRsa: '1.2.840.113549.1.1.11',
  subjectKeyIdentifier: '2.5.29.14',
}

export function oid(value: string): ObjectIdentifier {
  return new ObjectIdentifier({ value })
}

export function sequence(...value: AsnType[]): Sequence {
  return new Sequence({ value })
}

/** An AlgorithmIdentifier; its parameters are NULL for all algorithms used here (RFC 4055). */
export function algorithm(algorithmOid: string): Sequence {
  return sequence(oid(algorithmOid), new Null())
}

export function explicit(tagNumber: number, value: AsnType): Constructed {
  return new Constructed({ idBlock: { tagClass: 3, tagNumber }, value: [value] })
}

export function octets(bytes: Buffer): OctetString {
  return new OctetString({ valueHex: bufferOf(bytes) })
}

export function integer(bytes: Buffer): Integer {
  return new Integer({ valueHex: bufferOf(bytes) })
}

export function encode(structure: AsnType): Buffer {
  return Buffer.from(structure.toBER())
}

export function decode(der: Buffer): AsnType {
  return fromBER(bufferOf(der)).result
}

/** An ArrayBuffer of exactly these bytes: a Buffer's own may be a window on a pool. */
export function bufferOf(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer
}
