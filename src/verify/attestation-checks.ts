import type { VerifyCode } from '../errors.ts'
import type { CertifiedKey } from '../format/evidence.ts'
import {
  certifyQualifyingData,
  type Qualifier,
  quoteQualifyingData,
} from '../format/evidence-nonce.ts'
import { qualifiedNameOf } from '../format/tpm-name.ts'
import { PRIMARIES } from '../format/tpm-templates.ts'
import { requirePcrDigest, requireSelection } from '../measurements/pcr-quote.ts'
import {
  type Attestation,
  requireAttestationSignature,
  requireExtraData,
  requireKeyScheme,
  requireMagic,
  requireSigner,
  requireType,
} from './attestation.ts'
import { type Check, refuseUnless } from './check.ts'
import { requireTemplate } from './key-template.ts'
import { certifiedIn, type Subject } from './subject.ts'

/** The checks that every attestation takes first, in this order (reference: Part 1, 31). */
function attestationChecks(
  of: string,
  type: 'quote' | 'certify',
  attestationIn: (subject: Subject) => Attestation,
  extraData: (qualifier: Qualifier) => Buffer,
): Check[] {
  const check = (
    what: string,
    code: VerifyCode,
    run: (attestation: Attestation, subject: Subject) => void,
  ): Check => ({
    name: `${of}: ${what}`,
    codes: [code],
    run: (subject) => run(attestationIn(subject), subject),
  })
  return [
    check('algorithm', 'VERIFY_SIGNATURE_ALGORITHM', (it, { ak }) =>
      requireKeyScheme(it, ak.public),
    ),
    check('signature', 'VERIFY_SIGNATURE', (it, { ak }) =>
      requireAttestationSignature(it, ak.public),
    ),
    check('magic', 'VERIFY_MAGIC', (it) => requireMagic(it)),
    check('type', 'VERIFY_TYPE', (it) => void requireType(it, type)),
    check('nonce', 'VERIFY_EXTRA_DATA', (it, { qualifier }) =>
      requireExtraData(it, extraData(qualifier)),
    ),
    check('signer', 'VERIFY_SIGNER', (it, subject) => requireSigner(it, subject.akQualifiedName)),
  ]
}

/** The quote: from the AK, for this nonce, over exactly the PCR values that are shown. */
export const QUOTE_CHECKS: readonly Check[] = [
  ...attestationChecks('quote', 'quote', ({ quote }) => quote, quoteQualifyingData),
  {
    name: 'quote: selection',
    codes: ['VERIFY_PCR_SELECTION'],
    run: ({ quote, shownPcrs, demands }) => {
      const { selection } = requireType(quote, 'quote')
      requireSelection(selection, shownPcrs, demands.pcrPolicy?.banks)
    },
  },
  {
    name: 'quote: PCR values',
    codes: ['VERIFY_PCR_DIGEST'],
    run: ({ quote, shownPcrs }) =>
      requirePcrDigest(requireType(quote, 'quote'), shownPcrs, quote.signature.hash),
  },
]

/** A key of the agent: what it is, and the AK's word that the TPM holds it, if it should. */
export function certificationChecks(label: CertifiedKey): readonly Check[] {
  const of = `certification of ${label}`
  return [
    {
      name: `${of}: public area`,
      codes: ['VERIFY_KEY_PUBLIC'],
      run: (subject) =>
        requireTemplate(
          certifiedIn(subject, label).key.public,
          PRIMARIES[label].template,
          'VERIFY_KEY_PUBLIC',
        ),
    },
    ...attestationChecks(
      of,
      'certify',
      (subject) => certifiedIn(subject, label).attestation,
      (qualifier) => certifyQualifyingData(label, qualifier),
    ),
    { name: `${of}: name`, codes: ['VERIFY_NAME'], run: (subject) => checkName(subject, label) },
    {
      name: `${of}: hierarchy`,
      codes: ['VERIFY_HIERARCHY'],
      run: (subject) => checkHierarchy(subject, label),
    },
  ]
}

function checkName(subject: Subject, label: CertifiedKey): void {
  const { key, attestation } = certifiedIn(subject, label)
  refuseUnless(requireType(attestation, 'certify').name.equals(key.name), 'VERIFY_NAME')
}

/** A key made from the same template in another hierarchy has the same attributes, and another QN. */
function checkHierarchy(subject: Subject, label: CertifiedKey): void {
  const { key, attestation } = certifiedIn(subject, label)
  const wanted = PRIMARIES[label].hierarchy
  const { qualifiedName } = requireType(attestation, 'certify')
  const isIn = qualifiedName.equals(qualifiedNameOf(wanted, key.name))
  const isSaid = subject.evidence.certifications[label].hierarchy === wanted
  refuseUnless(isIn && isSaid, 'VERIFY_HIERARCHY')
}
