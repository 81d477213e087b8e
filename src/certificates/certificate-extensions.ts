import { BitString, fromBER } from 'asn1js'
import { BasicConstraints, ExtKeyUsage, GeneralNames, RelativeDistinguishedNames } from 'pkijs'
import { MetabindError } from '../errors.ts'
import { remembered } from '../remembered.ts'
import type { Certificate, CertificateExtension } from './certificate.ts'
import { parseDer } from './der.ts'
import { EXTENSION } from './extension-oids.ts'

/** Bits of KeyUsage (RFC 5280 4.2.1.3). */
export const KEY_USAGE = {
  digitalSignature: 0,
  keyEncipherment: 2,
  keyAgreement: 4,
  keyCertSign: 5,
  crlSign: 6,
} as const

interface BasicConstraintsValue {
  readonly ca: boolean
  readonly pathLength: number | undefined
}

// The library builds objects of every byte, so each extension is read once.

/** RFC 5280 4.2.1.9. */
export const basicConstraints = remembered(
  (certificate: Certificate): BasicConstraintsValue | undefined =>
    read(certificate, EXTENSION.basicConstraints, (value) => {
      const { cA, pathLenConstraint } = BasicConstraints.fromBER(value)
      const isNumber = typeof pathLenConstraint === 'number' && pathLenConstraint >= 0
      if (pathLenConstraint !== undefined && !isNumber) throw new Error('path length')
      return { ca: cA, pathLength: isNumber ? pathLenConstraint : undefined }
    }),
)

/** Whether a bit of KeyUsage is set; undefined if the certificate has no such extension. */
export function hasKeyUsage(certificate: Certificate, bit: number): boolean | undefined {
  const bits = keyUsageBits(certificate)
  return bits && ((bits[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0
}

const keyUsageBits = remembered((certificate: Certificate): Uint8Array | undefined =>
  read(certificate, EXTENSION.keyUsage, (value) => {
    const { result } = fromBER(value)
    if (!(result instanceof BitString)) throw new Error('no BIT STRING')
    return result.valueBlock.valueHexView
  }),
)

/** OIDs of ExtKeyUsage (RFC 5280 4.2.1.12). */
export const extKeyUsages = remembered((certificate: Certificate): readonly string[] | undefined =>
  read(certificate, EXTENSION.extKeyUsage, (value) => ExtKeyUsage.fromBER(value).keyPurposes),
)

/** Attributes of each directoryName in subjectAltName (RFC 5280 4.2.1.6), by OID, values as text. */
export const directoryNames = remembered(
  (certificate: Certificate): readonly NameAttributes[] | undefined =>
    read(certificate, EXTENSION.subjectAltName, (value) =>
      GeneralNames.fromBER(value).names.flatMap(({ value: name }: { value: unknown }) =>
        name instanceof RelativeDistinguishedNames ? [attributesOf(name)] : [],
      ),
    ),
)

/** Attributes of a distinguished name: OID and text, in their order. */
export type NameAttributes = readonly (readonly [oid: string, text: string])[]

/** Attributes of the subject. @throws MetabindError VERIFY_CERTIFICATE */
export const subjectAttributes = remembered(
  (certificate: Certificate): NameAttributes =>
    orMalformed('subject', () =>
      attributesOf(RelativeDistinguishedNames.fromBER(Uint8Array.from(certificate.subject))),
    ),
)

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
