import { CERTIFIED_KEYS, type CertifiedKey, type Evidence } from '../format/evidence.ts'
import { nameOf, qualifiedNameOf } from '../format/tpm-name.ts'
import { parsePublic, type TpmPublic } from '../format/tpm-public.ts'
import { type Attestation, parseAttestation } from './attestation.ts'
import type { ClockRecord } from './clock.ts'
import type { PcrPolicy } from './pcr-policy.ts'
import { type PcrValues, pcrValuesOf } from './pcr-quote.ts'
import type { ParsedTrust } from './trust.ts'

/** A key with its Names, computed here: what the evidence calls a key is of no interest. */
interface NamedKey {
  readonly public: TpmPublic
  readonly name: Buffer
}

/** A key of the agent and the AK's word for it. */
export interface CertifiedSubject {
  readonly label: CertifiedKey
  readonly key: NamedKey
  readonly attestation: Attestation
}

/** What a right answer to a challenge proves: the AK of this Name is in the TPM with this EK. */
export interface FinishedActivation {
  readonly ekName: Buffer
  readonly akName: Buffer
}

/** What was asked for, parsed. */
export interface Demands {
  readonly nonce: Buffer
  readonly now: Date
  readonly trust: ParsedTrust
  readonly pcrPolicy: PcrPolicy | undefined
  readonly expectedInstanceId: string | undefined
  readonly ekInstance: 'require' | 'prefer' | 'ignore'
  readonly demandDocument: boolean
  readonly demandActivation: boolean
  readonly allowProvisional: boolean
  readonly lastClock: ClockRecord | undefined
  readonly activation: FinishedActivation | undefined
}

/** Evidence taken apart, next to what was asked for: what every check looks at. */
export interface Subject {
  readonly evidence: Evidence
  readonly demands: Demands
  readonly ek: NamedKey
  readonly ak: NamedKey
  /** Of the AK as a primary key of the endorsement hierarchy. */
  readonly akQualifiedName: Buffer
  readonly quote: Attestation
  readonly shownPcrs: PcrValues
  readonly certified: readonly CertifiedSubject[]
}

/** @throws MetabindError VERIFY_STRUCTURE if a structure of the TPM is malformed */
export function takeApart(evidence: Evidence, demands: Demands): Subject {
  const ak = namedKey(evidence.ak.public)
  return {
    evidence,
    demands,
    ek: namedKey(evidence.ek.public),
    ak,
    akQualifiedName: qualifiedNameOf('endorsement', ak.name),
    quote: parseAttestation(evidence.quote.attest, evidence.quote.signature),
    shownPcrs: pcrValuesOf(evidence.pcrs),
    certified: CERTIFIED_KEYS.map((label) => {
      const { public: publicArea, attest, signature } = evidence.certifications[label]
      const attestation = parseAttestation(attest, signature)
      return { label, key: namedKey(publicArea), attestation }
    }),
  }
}

function namedKey(publicArea: Buffer): NamedKey {
  return { public: parsePublic(publicArea), name: nameOf(publicArea) }
}
