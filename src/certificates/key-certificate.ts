import { MetabindError } from '../errors.ts'
import type { TpmPublic } from '../format/tpm-public.ts'
import type { Certificate } from './certificate.ts'
import {
  basicConstraints,
  directoryNames,
  extKeyUsages,
  hasKeyUsage,
  KEY_USAGE,
  type NameAttributes,
  subjectAttributes,
} from './certificate-extensions.ts'
import { EXTENSION } from './extension-oids.ts'
import { isSameKey } from './spki.ts'

/** TCG EK credential profile 2.5, 3.2: OIDs of extended key usage and of the TPM's attributes. */
const EKU_EK = '2.23.133.8.1'
const EKU_AIK = '2.23.133.8.3'
const TPM_ATTRIBUTES = ['2.23.133.2.1', '2.23.133.2.2', '2.23.133.2.3']
const COMMON_NAME = '2.5.4.3'
const EMPTY_NAME = Buffer.from('3000', 'hex')

/**
 * What an EK is for (EK credential profile 2.5, 3.5.5). Genuine certificates of Intel's P-256 EKs say
 * keyEncipherment, as if they were RSA.
 */
const EK_USAGES: Record<TpmPublic['type'], readonly number[]> = {
  rsa: [KEY_USAGE.keyEncipherment],
  ecc: [KEY_USAGE.keyAgreement, KEY_USAGE.keyEncipherment],
  keyedhash: [],
}

/** @throws MetabindError VERIFY_CERTIFICATE_KEY if the certificate is of another TPM's key */
export function requireSameKey(certificate: Certificate, key: TpmPublic): void {
  if (!isSameKey(certificate.publicKey, key)) throw new MetabindError('VERIFY_CERTIFICATE_KEY')
}

/**
 * The profile of EK certificates (reference: EK credential profile 2.5, 3.2). Old certificates have
 * no extended key usage; if it stands, it must name EK certificates.
 *
 * @throws MetabindError VERIFY_CERTIFICATE_PROFILE
 */
export function requireEkProfile(certificate: Certificate, ek: TpmPublic): void {
  requireEndEntity(certificate)
  const isUsable = EK_USAGES[ek.type].some((usage) => hasKeyUsage(certificate, usage) === true)
  if (!isUsable) refuse('keyUsage without what an EK does')
  const purposes = extKeyUsages(certificate)
  if (purposes !== undefined && !purposes.includes(EKU_EK)) refuse(`no ${EKU_EK} in extKeyUsage`)
  requireTpmName(certificate)
}

/**
 * The profile of AK certificates: for clouds that certify attestation keys (TCG AK certificate
 * profile; the EKU is what keeps an ordinary certificate of the same authority from passing).
 *
 * @throws MetabindError VERIFY_CERTIFICATE_PROFILE
 */
export function requireAkProfile(certificate: Certificate): void {
  requireEndEntity(certificate)
  if (hasKeyUsage(certificate, KEY_USAGE.digitalSignature) !== true) {
    refuse('keyUsage without digitalSignature')
  }
  if (extKeyUsages(certificate)?.includes(EKU_AIK) !== true) refuse(`no ${EKU_AIK} in extKeyUsage`)
}

function requireEndEntity(certificate: Certificate): void {
  if (certificate.version !== 3) refuse(`version ${certificate.version}`)
  if (basicConstraints(certificate)?.ca === true) refuse('it is an authority')
  const hasAki = certificate.extensions.has(EXTENSION.authorityKeyIdentifier)
  if (!hasAki) refuse('no authorityKeyIdentifier')
}

/** If the TPM is named, one directoryName names it; it is critical if it stands for the subject. */
function requireTpmName(certificate: Certificate): void {
  const names = directoryNames(certificate)
  const isNameless = certificate.subject.equals(EMPTY_NAME)
  if (names === undefined) {
    if (isNameless) refuse('neither subject nor subjectAltName')
    return
  }
  const isCritical = certificate.extensions.get(EXTENSION.subjectAltName)?.critical === true
  if (isNameless && !isCritical) refuse('subjectAltName stands for the subject and is not critical')
  const [name, ...others] = names
  if (name === undefined || others.length > 0) refuse(`${names.length} directory names`)
  for (const oid of TPM_ATTRIBUTES) {
    if (name.filter(([found]) => found === oid).length !== 1) refuse(`no single ${oid}`)
  }
}

/**
 * Manufacturer, model and version of the TPM, as an EK certificate names it: OIDs and texts, in this order.
 *
 * @returns undefined if the certificate has no such name
 */
export function tpmAttributes(certificate: Certificate): NameAttributes | undefined {
  const name = directoryNames(certificate)?.[0]
  if (name === undefined) return undefined
  const found = TPM_ATTRIBUTES.flatMap((oid) => name.filter(([type]) => type === oid))
  return found.length === TPM_ATTRIBUTES.length ? found : undefined
}

/** The first common name of the subject: on Alibaba Cloud, the instance id. */
export function commonName(certificate: Certificate): string | undefined {
  const attributes: NameAttributes = subjectAttributes(certificate)
  return attributes.find(([oid]) => oid === COMMON_NAME)?.[1]
}

function refuse(why: string): never {
  throw new MetabindError('VERIFY_CERTIFICATE_PROFILE', `Found: ${why}.`)
}
