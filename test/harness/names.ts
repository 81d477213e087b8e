import { der } from './crl.ts'

/** Distinguished names for tests, byte by byte: any string type, and what is none. */

/** OIDs of attributes, in hex. */
export const ATTRIBUTE_OIDS = { commonName: '550403', emailAddress: '2a864886f70d010901' } as const

/** @param type OID in hex, as der() takes it @param tag of the value @param value text, in UTF-8, or bytes */
export function nameAttribute(type: string, tag: number, value: string | Buffer): Buffer {
  return der(0x30, der(0x06, type), der(tag, Buffer.from(value)))
}

/** One attribute in an RDN of its own: a common name as UTF8String unless told otherwise. */
export function rdn(
  value: string | Buffer,
  tag = 0x0c,
  type: string = ATTRIBUTE_OIDS.commonName,
): Buffer {
  return der(0x31, nameAttribute(type, tag, value))
}

export function rdnSequence(...rdns: readonly Buffer[]): Buffer {
  return der(0x30, ...rdns)
}
