import { MetabindError } from '../errors.ts'
import { CERTIFIED_KEYS, type CertifiedKey, type Evidence } from '../format/evidence.ts'
import type { Qualifier } from '../format/evidence-nonce.ts'
import { nameOf, qualifiedNameOf } from '../format/tpm-name.ts'
import { parsePublic, type TpmPublic } from '../format/tpm-public.ts'
import type { PcrPolicy } from '../measurements/pcr-policy.ts'
import { type PcrValues, pcrValuesOf } from '../measurements/pcr-quote.ts'
import type { PcrSignatures } from '../measurements/pcr-signature.ts'
import { type ReplayedLogs, replayLogs } from '../measurements/replayed-logs.ts'
import { type Attestation, parseAttestation } from './attestation.ts'
import type { VerificationRecord } from './record.ts'
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
  readonly bind: Buffer | undefined
  readonly now: Date
  readonly trust: ParsedTrust
  readonly pcrPolicy: PcrPolicy | undefined
  readonly pcrSignatures: PcrSignatures | undefined
  /** PCRs to whose values logs must lead. */
  readonly replayed: readonly number[]
  readonly expectedInstanceId: string | undefined
  readonly ekInstance: 'require' | 'prefer' | 'ignore'
  readonly demandDocument: boolean
  readonly demandActivation: boolean
  readonly demandCrls: boolean
  readonly allowProvisional: boolean
  readonly last: VerificationRecord | undefined
  readonly activation: FinishedActivation | undefined
}

/** Evidence taken apart, next to what was asked for: what every check looks at. */
export interface Subject {
  readonly evidence: Evidence
  readonly demands: Demands
  /** What must be under every signature: the nonce that was sent, and what the document says is bound. */
  readonly qualifier: Qualifier
  readonly ek: NamedKey
  readonly ak: NamedKey
  /** Of the AK as a primary key of the endorsement hierarchy. */
  readonly akQualifiedName: Buffer
  readonly quote: Attestation
  readonly shownPcrs: PcrValues
  /** Parsed and replayed when first asked for. @throws MetabindError VERIFY_EVENT_LOG */
  readonly replayedLogs: () => ReplayedLogs
  readonly certified: readonly CertifiedSubject[]
}

/** @throws MetabindError VERIFY_STRUCTURE if a structure of the TPM is malformed */
export function takeApart(evidence: Evidence, demands: Demands): Subject {
  const ak = namedKey(evidence.ak.public)
  const shownPcrs = pcrValuesOf(evidence.pcrs)
  return {
    evidence,
    demands,
    qualifier: { nonce: demands.nonce, bind: evidence.bind },
    ek: namedKey(evidence.ek.public),
    ak,
    akQualifiedName: qualifiedNameOf('endorsement', ak.name),
    quote: parseAttestation(evidence.quote.attest, evidence.quote.signature),
    shownPcrs,
    replayedLogs: once(() => replayLogs(evidence, shownPcrs)),
    certified: CERTIFIED_KEYS.map((label) => {
      const { public: publicArea, attest, signature } = evidence.certifications[label]
      const attestation = parseAttestation(attest, signature)
      return { label, key: namedKey(publicArea), attestation }
    }),
  }
}

/** @throws MetabindError VERIFY_FORMAT */
export function certifiedIn(subject: Subject, label: CertifiedKey): CertifiedSubject {
  const found = subject.certified.find((certified) => certified.label === label)
  if (found === undefined) throw new MetabindError('VERIFY_FORMAT', `no ${label}.`)
  return found
}

function once<T extends object>(make: () => T): () => T {
  let made: T | undefined
  return () => {
    made ??= make()
    return made
  }
}

function namedKey(publicArea: Buffer): NamedKey {
  return { public: parsePublic(publicArea), name: nameOf(publicArea) }
}
