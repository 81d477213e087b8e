import { BitString, fromBER } from 'asn1js'
import { BasicConstraints, ExtKeyUsage, GeneralNames, RelativeDistinguishedNames } from 'pkijs'
import { MetabindError } from '../errors.ts'
import type { Certificate, CertificateExtension } from './certificate.ts'
import { parseDer } from './der.ts'
import { EXTENSION } from './extension-oids.ts'

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

/** Whether a bit of KeyUsage is set; undefined if the certificate has no such extension. */
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
