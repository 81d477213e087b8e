import { BitString, fromBER, OctetString } from 'asn1js'
import {
  AuthorityKeyIdentifier,
  BasicConstraints,
  ExtKeyUsage,
  GeneralNames,
  RelativeDistinguishedNames,
} from 'pkijs'
import { MetabindError } from '../errors.ts'
import type { Certificate, CertificateExtension } from './certificate.ts'
import { parseDer } from './der.ts'

/** Extensions of RFC 5280 4.2.1 that this verifier reads. */
export const EXTENSION = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
} as const

/** Bits of KeyUsage (RFC 5280 4.2.1.3). */
export const KEY_USAGE = {
  digitalSignature: 0,
  keyEncipherment: 2,
  keyAgreement: 4,
  keyCertSign: 5,
} as const

/** RFC 5280 4.2.1.9. */
export function basicConstraints(
  certificate: Certificate,
): { readonly ca: boolean; readonly pathLength: number | undefined } | undefined {
  return read(certificate, EXTENSION.basicConstraints, (value) => {
    const { cA, pathLenConstraint } = BasicConstraints.fromBER(value)
    const isNumber = typeof pathLenConstraint === 'number' && pathLenConstraint >= 0
    if (pathLenConstraint !== undefined && !isNumber) throw new Error('path length')
    return { ca: cA, pathLength: isNumber ? pathLenConstraint : undefined }
  })
}

/** Whether a bit of KeyUsage is set; undefined where the certificate has no such extension. */
export function hasKeyUsage(certificate: Certificate, bit: number): boolean | undefined {
  return read(certificate, EXTENSION.keyUsage, (value) => {
    const { result } = fromBER(value)
    if (!(result instanceof BitString)) throw new Error('no BIT STRING')
    const byte = result.valueBlock.valueHexView[bit >> 3] ?? 0
    return (byte & (0x80 >> (bit & 7))) !== 0
  })
}

/** OIDs of ExtKeyUsage (RFC 5280 4.2.1.12). */
export function extKeyUsages(certificate: Certificate): readonly string[] | undefined {
  return read(certificate, EXTENSION.extKeyUsage, (value) => ExtKeyUsage.fromBER(value).keyPurposes)
}

/** RFC 5280 4.2.1.2. */
export function subjectKeyIdentifier(certificate: Certificate): Buffer | undefined {
  return read(certificate, EXTENSION.subjectKeyIdentifier, (value) => {
    const { result } = fromBER(value)
    if (!(result instanceof OctetString)) throw new Error('no OCTET STRING')
    return Buffer.from(result.valueBlock.valueHexView)
  })
}

/** RFC 5280 4.2.1.1; the identifier is empty where the issuer is named in another way. */
export function authorityKeyIdentifier(certificate: Certificate): Buffer | undefined {
  return read(certificate, EXTENSION.authorityKeyIdentifier, (value) => {
    const { keyIdentifier } = AuthorityKeyIdentifier.fromBER(value)
    return Buffer.from(keyIdentifier?.valueBlock.valueHexView ?? [])
  })
}

/** Attributes of each directoryName in subjectAltName (RFC 5280 4.2.1.6), by OID, values as text. */
export function directoryNames(certificate: Certificate): readonly NameAttributes[] | undefined {
  return read(certificate, EXTENSION.subjectAltName, (value) =>
    GeneralNames.fromBER(value).names.flatMap(({ value: name }: { value: unknown }) =>
      name instanceof RelativeDistinguishedNames ? [attributesOf(name)] : [],
    ),
  )
}

/** Attributes of a distinguished name: OID and text, in their order. */
export type NameAttributes = readonly (readonly [oid: string, text: string])[]

/** Attributes of the subject. @throws MetabindError VERIFY_CERTIFICATE */
export function subjectAttributes(certificate: Certificate): NameAttributes {
  return orMalformed('subject', () =>
    attributesOf(RelativeDistinguishedNames.fromBER(Uint8Array.from(certificate.subject))),
  )
}

function attributesOf(name: RelativeDistinguishedNames): NameAttributes {
  return name.typesAndValues.map(({ type, value }) => [type, String(value.getValue())] as const)
}

function read<T>(
  certificate: Certificate,
  oid: string,
  parse: (value: Uint8Array<ArrayBuffer>) => T,
): T | undefined {
  const extension: CertificateExtension | undefined = certificate.extensions.get(oid)
  if (extension === undefined) return undefined
  parseDer(extension.value)
  return orMalformed(`extension ${oid}`, () => parse(Uint8Array.from(extension.value)))
}

/** The library throws errors of many kinds for bytes that are not what they should be. */
function orMalformed<T>(what: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw new MetabindError('VERIFY_CERTIFICATE', `${what} is malformed.`, error)
  }
}
