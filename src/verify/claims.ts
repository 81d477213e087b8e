import { isCoveredByCrls } from '../certificates/revocation.ts'
import { coversFirmware, coversQuote } from '../measurements/replayed-logs.ts'
import type { Anchor } from './endorsement.ts'
import type { Subject } from './subject.ts'

/** What evidence can prove. Each is either proven or not; the verifier says which. */
export const CLAIMS = {
  'ek-genuine': {
    proven: 'The endorsement key belongs to a genuine TPM: its certificate or a pin says so.',
    notProven: 'Nothing says that the endorsement key belongs to a genuine TPM.',
  },
  'not-revoked': {
    proven: 'No certificate but the anchor is on the current revocation list of its issuer.',
    notProven:
      'Whether a certificate was revoked was not looked up: no current list is given for each issuer.',
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
    proven: 'What was measured into the PCRs is what the policy allows.',
    notProven: 'No policy was given: any PCR values were accepted.',
  },
  'event-log': {
    proven: 'The event log leads to the quoted PCRs 0 to 7.',
    notProven:
      'No event log leads to quoted PCRs 0 to 7: what their values stand for is not shown.',
  },
  'all-replayed': {
    proven: 'Logs lead to the values of all quoted PCRs.',
    notProven: 'Not all quoted PCRs are explained by logs: `replayed` says which ones are.',
  },
  bound: {
    proven: 'The bytes that you named were under every signature of the TPM.',
    notProven:
      'No bytes were demanded to be bound: who handed over the evidence may have had it of another machine.',
  },
  continuity: {
    proven:
      'It went on from the record of its last evidence: same keys, counters and certificate no older.',
    notProven:
      'No record of earlier evidence was given: a cloned or rolled back machine would not be noticed.',
  },
} as const satisfies Record<string, { proven: string; notProven: string }>

export type Claim = keyof typeof CLAIMS

/** @param anchor what vouches for the TPM @param ekNamesInstance whether the EK certificate does */
export function provenClaims(
  subject: Subject,
  anchor: Anchor,
  ekNamesInstance: boolean,
): ReadonlySet<Claim> {
  const { evidence, demands } = subject
  const replayed = subject.replayedLogs()
  const proven: Record<Claim, boolean> = {
    'ek-genuine': anchor.kind !== 'ak-certificate',
    'not-revoked':
      anchor.kind !== 'ek-pin' &&
      isCoveredByCrls(anchor.path, demands.trust.crls, demands.now.getTime()),
    'ak-in-tpm': isAkInTpm(subject, anchor),
    'instance-from-cloud': evidence.identityDocument !== undefined,
    'instance-from-ek': ekNamesInstance,
    'pcr-policy': demands.pcrPolicy !== undefined,
    'event-log': coversFirmware(replayed),
    'all-replayed': coversQuote(replayed),
    bound: demands.bind !== undefined,
    continuity: demands.last !== undefined,
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
