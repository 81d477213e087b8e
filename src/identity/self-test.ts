import { randomBytes } from 'node:crypto'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { type Evidence, encodeEvidence } from '../format/evidence.ts'
import type { Qualifier } from '../format/evidence-nonce.ts'
import { spkiDigest } from '../format/tpm-key.ts'
import { parsePublic } from '../format/tpm-public.ts'
import { finishChallenge, makeChallenge } from '../verify/challenge.ts'
import type { Claim } from '../verify/claims.ts'
import { type ParsedTrust, parseTrust, type Trust } from '../verify/trust.ts'
import type { Verified } from '../verify/verified.ts'
import { type VerifyOptions, verifyEvidence } from '../verify/verify.ts'
import { activateCredential } from './activate.ts'
import type { Demand } from './endorsement.ts'
import type { InstanceKeys, InstanceTpm } from './tpm.ts'

/** What the self-test demands. */
export interface SelfTestPolicy {
  readonly trust: Trust | ParsedTrust
  /** Whether the EK must have a certificate that leads to an anchor. */
  readonly ekCertificate: Demand
  /** Whether that certificate must name the instance. */
  readonly ekInstance: Demand
  /** Whether the cloud must sign an identity document for us. */
  readonly identityDocument: Demand
}

/** What was proven, and what this platform does not have. */
export interface SelfTestResult {
  readonly proven: readonly Claim[]
  readonly lacked: readonly Claim[]
  readonly anchor: Verified['anchor']['kind'] | 'none'
}

// No anchor vouches for this TPM: if that may be, the EK is taken as it is.
const UNVOUCHED: readonly ErrorCode[] = ['VERIFY_UNANCHORED', 'VERIFY_CERTIFICATE_ISSUER']

/**
 * The agent as its own verifier, with a nonce of its own: every check that anybody else could make,
 * credential activation included. It attests nothing to others; it finds what would make the agent's
 * word worthless before anyone relies on it.
 *
 * @param gather makes evidence for a nonce, without an identity document if that is ignored
 * @throws MetabindError VERIFY_… of the first check that refuses
 */
export async function selfTest(
  tpm: InstanceTpm,
  keys: InstanceKeys,
  policy: SelfTestPolicy,
  gather: (qualifier: Qualifier) => Promise<Evidence>,
): Promise<SelfTestResult> {
  const nonce = randomBytes(32)
  const bytes = Buffer.from(encodeEvidence(await gather({ nonce })))
  const trust = parseTrust(policy.trust)
  const options = {
    nonce,
    trust,
    now: new Date(),
    ekInstance: policy.ekInstance,
    demandDocument: policy.identityDocument === 'require',
  }
  const { options: vouched, anchored } = chooseAnchor(bytes, keys, policy, options)
  const { challenge, kept } = makeChallenge(bytes, vouched)
  const answer = await activateCredential(tpm, keys, challenge)
  const activation = finishChallenge(answer, kept, new Date())
  const verified = verifyEvidence(bytes, { ...vouched, activation, demandActivation: true })
  return describe(verified, anchored)
}

/** The configured anchors if they vouch for this TPM; else, if that may be, this EK itself. */
function chooseAnchor(
  bytes: Buffer,
  keys: InstanceKeys,
  policy: SelfTestPolicy,
  options: VerifyOptions & { readonly trust: ParsedTrust },
): { readonly options: VerifyOptions; readonly anchored: boolean } {
  try {
    // Activation follows: the challenge is made for the anchor that is found here.
    verifyEvidence(bytes, { ...options, allowProvisional: true })
    return { options, anchored: true }
  } catch (error) {
    const mayBe = error instanceof MetabindError && UNVOUCHED.includes(error.code)
    if (!mayBe) throw error
    if (policy.ekCertificate === 'require') throw orUnreadable(error, keys)
    const own = spkiDigest(parsePublic(keys.ek.publicArea))
    const trust = { ...options.trust, ekPins: new Set([...options.trust.ekPins, own]) }
    return { options: { ...options, trust }, anchored: false }
  }
}

/** That nothing vouches for the EK is said with why, if there would be a certificate to read. */
function orUnreadable(error: MetabindError, { endorsement }: InstanceKeys): MetabindError {
  const { unreadable } = endorsement
  if (error.code !== 'VERIFY_UNANCHORED' || unreadable.length === 0) return error
  return new MetabindError('TPM_NV_UNREADABLE', `${unreadable.join('; ')}.`, error)
}

// What only somebody else can bring along: they are no lack of this platform.
const OF_VERIFIERS: readonly Claim[] = [
  'not-revoked',
  'pcr-policy',
  'all-replayed',
  'bound',
  'continuity',
]

/** An EK that only we vouch for is not shown to be genuine. */
function describe({ proven, notProven, anchor }: Verified, anchored: boolean): SelfTestResult {
  const lacked = notProven.filter((claim) => !OF_VERIFIERS.includes(claim))
  if (anchored) return { proven, lacked, anchor: anchor.kind }
  const genuine: Claim = 'ek-genuine'
  return {
    proven: proven.filter((claim) => claim !== genuine),
    lacked: [genuine, ...lacked],
    anchor: 'none',
  }
}
