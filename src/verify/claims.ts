import type { Anchor } from './endorsement.ts'
import { coversFirmware } from './firmware-log.ts'
import type { Subject } from './subject.ts'

/** What evidence can prove. Each is either proven or not; the verifier says which. */
export const CLAIMS = {
  'ek-genuine': {
    proven: 'The endorsement key belongs to a genuine TPM: its certificate or a pin says so.',
    notProven: 'Nothing says that the endorsement key belongs to a genuine TPM.',
  },
  'ak-in-tpm': {
    proven: 'The attestation key is in that TPM: it was activated, or has a certificate.',
    notProven:
      'Nobody has checked that the attestation key is in that TPM: it rests on the EK certificate ' +
      'and qualified names alone, which software could copy. Finish a challenge.',
  },
  'instance-from-cloud': {
    proven: 'The cloud signed a document of this instance for this nonce.',
    notProven: 'The cloud has not said what instance this is: no identity document.',
  },
  'instance-from-ek': {
    proven: 'The endorsement certificate names this instance.',
    notProven: 'The endorsement certificate does not name the instance.',
  },
  'pcr-policy': {
    proven: 'The PCRs have values that the policy allows.',
    notProven: 'No policy was given: any PCR values were accepted.',
  },
  'event-log': {
    proven: 'The event log leads to the quoted PCRs 0 to 7.',
    notProven:
      'No event log leads to quoted PCRs 0 to 7: what their values stand for is not shown.',
  },
  clock: {
    proven: 'The counters of the TPM went on from the last record.',
    notProven: 'No record of this AK was given: a rolled back or cloned TPM would not be noticed.',
  },
} as const satisfies Record<string, { proven: string; notProven: string }>

export type Claim = keyof typeof CLAIMS

/** @param anchor what vouches for the TPM @param ekNamesInstance whether the EK certificate does */
export function provenClaims(
  subject: Subject,
  anchor: Anchor,
  ekNamesInstance: boolean,
): ReadonlySet<Claim> {
  const { evidence, ak, demands, shownPcrs } = subject
  const { eventLog } = evidence
  const proven: Record<Claim, boolean> = {
    'ek-genuine': anchor.kind !== 'ak-certificate',
    'ak-in-tpm': isAkInTpm(subject, anchor),
    'instance-from-cloud': evidence.identityDocument !== undefined,
    'instance-from-ek': ekNamesInstance,
    'pcr-policy': demands.pcrPolicy !== undefined,
    'event-log': eventLog !== undefined && coversFirmware(eventLog, shownPcrs),
    clock: demands.lastClock?.akName === ak.name.toString('hex'),
  }
  return new Set(claimNames().filter((claim) => proven[claim]))
}

/** Without this all keys but the EK may be software's, and so may be everything that they signed. */
export function isAkInTpm({ demands }: Subject, anchor: Anchor): boolean {
  return demands.activation !== undefined || anchor.kind === 'ak-certificate'
}

export function claimNames(): Claim[] {
  // Object.keys says string[]; the keys of a constant are its own.
  return Object.keys(CLAIMS) as Claim[]
}
