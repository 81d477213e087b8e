import type { PcrSelection } from 'tpm2-js'
import type { Answer, Challenge } from '../format/activation.ts'
import { EVENT_LOG_BYTES_MAX, type Evidence } from '../format/evidence.ts'
import { identityDocumentAudience } from '../format/evidence-nonce.ts'
import type { InstanceIdentity } from '../format/instance-identity.ts'
import { readFileAtMost } from '../storage/read-at-most.ts'
import { activateCredential } from './activate.ts'
import { gatherEvidence } from './evidence.ts'
import { type SelfTestPolicy, type SelfTestResult, selfTest } from './self-test.ts'
import type { InstanceKeys, InstanceTpm } from './tpm.ts'

/** What this instance can say of itself, to anyone and to itself. */
export interface Attester {
  /** @throws MetabindError TPM_…, SOURCE_NONSENSE */
  evidence(nonce: Buffer): Promise<Evidence>
  /** @throws MetabindError ACTIVATION_OTHER, TPM_… */
  activate(challenge: Challenge): Promise<Answer>
  /** @throws MetabindError VERIFY_…, TPM_… */
  selfTest(): Promise<SelfTestResult>
}

/** What attestation is made of, besides keys and identity. */
export interface AttesterDeps {
  readonly tpm: InstanceTpm
  readonly dialect: Evidence['dialect']
  readonly pcrs: PcrSelection
  /** DER, leaf first: for clouds that certify attestation keys. */
  readonly akCertificates: readonly Buffer[]
  /** Where the firmware's event log is; undefined if it is not this TPM's. */
  readonly eventLogFile: string | undefined
  /** The cloud's PKCS7 for an audience; undefined if it makes none. */
  readonly readIdentityDocument: (audience: string) => Promise<Buffer | undefined>
  /** Asked for each test: trust anchors may be read again while the agent runs. */
  readonly policy: () => SelfTestPolicy
}

/** Puts the parts together for the keys and the identity of this boot. */
export function attesterOf(
  deps: AttesterDeps,
  keys: InstanceKeys,
  identity: InstanceIdentity,
): Attester {
  const gather = (nonce: Buffer, identityDocument: Buffer | undefined): Promise<Evidence> =>
    gatherEvidence(deps.tpm, keys, {
      nonce,
      dialect: deps.dialect,
      instanceId: identity.instanceId,
      pcrs: deps.pcrs,
      akCertificates: deps.akCertificates,
      eventLog: readEventLog(deps.eventLogFile),
      identityDocument,
    })
  const evidence = async (nonce: Buffer): Promise<Evidence> =>
    gather(nonce, await deps.readIdentityDocument(identityDocumentAudience(nonce)))
  return {
    evidence,
    activate: (challenge) => activateCredential(deps.tpm, keys, challenge),
    selfTest: () => {
      const policy = deps.policy()
      // A source whose document is ignored is not asked for it, and cannot fail in giving it.
      const withoutDocument = (nonce: Buffer) => gather(nonce, undefined)
      const isIgnored = policy.identityDocument === 'ignore'
      return selfTest(deps.tpm, keys, policy, isIgnored ? withoutDocument : evidence)
    },
  }
}

/** The log, if it can be read: securityfs gives it to root alone unless a rule says otherwise. */
function readEventLog(file: string | undefined): Buffer | undefined {
  if (file === undefined) return undefined
  try {
    const bytes = readFileAtMost(file, EVENT_LOG_BYTES_MAX + 1)
    // Too long to be one.
    return bytes.length > EVENT_LOG_BYTES_MAX ? undefined : bytes
  } catch {
    // A kernel in lockdown refuses to read what it let be opened.
    return undefined
  }
}
