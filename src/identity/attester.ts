import type { PcrSelection } from 'tpm2-js'
import type { Answer, Challenge } from '../format/activation.ts'
import type { Evidence } from '../format/evidence.ts'
import { identityDocumentAudience, type Qualifier } from '../format/evidence-nonce.ts'
import type { InstanceIdentity } from '../format/instance-identity.ts'
import { activateCredential } from './activate.ts'
import { type EvidenceRequest, gatherEvidence } from './evidence.ts'
import { type LogFiles, readFirmwareLog, readLogsAfter } from './log-files.ts'
import { type SelfTestPolicy, type SelfTestResult, selfTest } from './self-test.ts'
import type { InstanceKeys, InstanceTpm } from './tpm.ts'

/** What this instance can say of itself, to anyone and to itself. */
export interface Attester {
  /** @throws MetabindError TPM_…, SOURCE_NONSENSE */
  evidence(qualifier: Qualifier): Promise<Evidence>
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
  readonly logFiles: LogFiles
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
  const gather = (
    qualifier: Qualifier,
    identityDocument: Buffer | undefined,
    logs: EvidenceRequest['logs'],
  ): Promise<Evidence> =>
    gatherEvidence(deps.tpm, keys, {
      qualifier,
      dialect: deps.dialect,
      instanceId: identity.instanceId,
      pcrs: deps.pcrs,
      akCertificates: deps.akCertificates,
      identityDocument,
      logs,
    })
  const documentFor = (qualifier: Qualifier) =>
    deps.readIdentityDocument(identityDocumentAudience(qualifier))
  const logs = (quoted: Evidence) => readLogsAfter(deps.logFiles, quoted)
  // Other programs write the other logs: no agent should fail to start for those.
  const ownLogs = async () => readFirmwareLog(deps.logFiles)
  return {
    evidence: async (qualifier) => gather(qualifier, await documentFor(qualifier), logs),
    activate: (challenge) => activateCredential(deps.tpm, keys, challenge),
    selfTest: () => {
      const policy = deps.policy()
      // A source whose document is ignored is not asked for it, and cannot fail in giving it.
      const isIgnored = policy.identityDocument === 'ignore'
      const own = async (qualifier: Qualifier): Promise<Evidence> =>
        gather(qualifier, isIgnored ? undefined : await documentFor(qualifier), ownLogs)
      return selfTest(deps.tpm, keys, policy, own)
    },
  }
}
