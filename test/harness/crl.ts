import { type KeyObject, sign } from 'node:crypto'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import type { Issuer } from './certificate.ts'

/** Revocation lists for tests, genuine and forged: every byte can be wrong. */

/** One DER element. */
export function der(tag: number, ...parts: readonly (Buffer | string)[]): Buffer {
  const content = Buffer.concat(
    parts.map((part) =>
      typeof part === 'string' ? Buffer.from(part.replaceAll(' ', ''), 'hex') : part,
    ),
  )
  return Buffer.concat([Buffer.of(tag), lengthOf(content.length), content])
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.of(length)
  const hex = length.toString(16)
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  return Buffer.concat([Buffer.of(0x80 | bytes.length), bytes])
}

export function utcTime(text: string): Buffer {
  return der(0x17, Buffer.from(text))
}

/** @param id of 2.5.29, the last number @param value in DER */
export function crlExtension(id: number, value: Buffer | string, critical = false): Buffer {
  const flag = critical ? '0101ff' : ''
  return der(0x30, der(0x06, Buffer.of(0x55, 0x1d, id)), flag, der(0x04, value))
}

export function entry(serial: string, ...more: readonly Buffer[]): Buffer {
  return der(0x30, der(0x02, serial), utcTime('250101000000Z'), ...more)
}

export function extensionsOfEntry(...extensions: readonly Buffer[]): Buffer {
  return der(0x30, ...extensions)
}

export interface CrlFields {
  readonly issuer: Pick<Issuer, 'der' | 'key'>
  readonly signer?: KeyObject
  readonly version?: string
  readonly thisUpdate?: Buffer
  readonly nextUpdate?: Buffer
  /** Undefined leaves revokedCertificates out. */
  readonly entries?: readonly Buffer[] | undefined
  readonly extensions?: readonly Buffer[] | undefined
  readonly after?: readonly Buffer[]
  readonly algorithm?: Buffer
  readonly outerAlgorithm?: Buffer
  /** Made by `signer`, else by the issuer, when left out. */
  readonly signature?: Buffer
}

const ECDSA_SHA256 = der(0x30, '06082a8648ce3d040302')

export function makeCrl({ issuer, entries, extensions, ...fields }: CrlFields): Buffer {
  const { algorithm = ECDSA_SHA256, outerAlgorithm = algorithm, after = [] } = fields
  const tbs = der(
    0x30,
    fields.version ?? '020101',
    algorithm,
    parseCertificate(issuer.der).subject,
    fields.thisUpdate ?? utcTime('261101000000Z'),
    fields.nextUpdate ?? utcTime('261201000000Z'),
    ...(entries === undefined ? [] : [der(0x30, ...entries)]),
    ...(extensions === undefined ? [] : [der(0xa0, der(0x30, ...extensions))]),
    ...after,
  )
  const signature = fields.signature ?? sign('sha256', tbs, fields.signer ?? issuer.key)
  return der(0x30, tbs, outerAlgorithm, der(0x03, '00', signature))
}
