import type { MetabindError } from '../errors.ts'
import type { SelfTestResult } from '../identity/self-test.ts'
import type { ProofLink } from '../snapshot-api.ts'
import { CLAIMS, type Claim } from '../verify/claims.ts'
import { VerifyError } from '../verify/verify-error.ts'
import type { StartupState } from './startup.ts'

type LinkName = 'anchor' | 'EK' | 'AK' | 'RK' | 'BK' | 'SK' | 'document'

const NAMES: readonly LinkName[] = ['anchor', 'EK', 'AK', 'RK', 'BK', 'SK', 'document']

const ANCHORS: Readonly<Record<SelfTestResult['anchor'], string>> = {
  'ek-certificate': 'The certificate of the endorsement key leads to a trust anchor.',
  'ek-pin': 'The endorsement key is pinned in the configuration.',
  'ak-certificate': 'The certificate of the attestation key leads to a trust anchor.',
  none: 'No certificate chain and no pin vouches for this TPM.',
}
// The self-test passes only if the AK has certified all three.
const CERTIFIED: Readonly<Record<'RK' | 'BK' | 'SK', string>> = {
  RK: 'The TPM holds the root of the token keys: the attestation key certified it.',
  BK: 'The TPM holds the key of this boot, which a reset changes: the attestation key certified it.',
  SK: 'The TPM holds the key that signs identity tokens: the attestation key certified it.',
}

/**
 * What is proven of this instance, link by link, each with a sentence. The self-test stops at the first link that
 * it refuses; what it said before that counts no more.
 *
 * @param problem what the start waits for, or why the agent has stopped
 */
export function proofChain(
  state: StartupState,
  problem: MetabindError | undefined,
): readonly ProofLink[] {
  const refused = problem === undefined ? undefined : linkOf(problem)
  const selfTest = 'selfTest' in state ? state.selfTest : undefined
  return NAMES.map((name): ProofLink => {
    if (name === refused) return { name, verdict: 'refused', sentence: problem?.message ?? '' }
    if (refused !== undefined)
      return notProven(name, 'Not known: the self-test ends at the first that it refuses.')
    if (selfTest === undefined) return notProven(name, 'Not tested yet.')
    return tested(name, selfTest)
  })
}

function notProven(name: LinkName, sentence: string): ProofLink {
  return { name, verdict: 'not-proven', sentence }
}

function tested(name: LinkName, { anchor, proven }: SelfTestResult): ProofLink {
  const claimed = (claim: Claim): ProofLink =>
    proven.includes(claim)
      ? { name, verdict: 'proven', sentence: CLAIMS[claim].proven }
      : notProven(name, CLAIMS[claim].notProven)
  switch (name) {
    case 'anchor':
      return anchor === 'none'
        ? notProven(name, ANCHORS.none)
        : { name, verdict: 'proven', sentence: ANCHORS[anchor] }
    case 'EK':
      return claimed('ek-genuine')
    case 'AK':
      return claimed('ak-in-tpm')
    case 'document':
      return claimed('instance-from-cloud')
    default:
      return { name, verdict: 'proven', sentence: CERTIFIED[name] }
  }
}

const UNVOUCHED = ['VERIFY_UNANCHORED', 'VERIFY_CERTIFICATE_ISSUER', 'TPM_NV_UNREADABLE']

/** The link that a refusal is about; undefined if it is about none, such as a TPM that is not there. */
function linkOf(problem: MetabindError): LinkName | undefined {
  const { code } = problem
  if (UNVOUCHED.includes(code)) return 'anchor'
  if (code === 'TPM_OTHER') return 'EK'
  if (code === 'ACTIVATION_OTHER') return 'AK'
  if (code === 'SOURCE_OTHER') return 'document'
  const check = checkOf(problem)
  if (check === undefined) return undefined
  const [, certified] = /^certification of (RK|BK|SK):/.exec(check) ?? []
  if (certified !== undefined) return certified as 'RK' | 'BK' | 'SK'
  if (check.startsWith('identity document')) return 'document'
  return check === 'endorsement' || check.startsWith('EK ') ? 'EK' : 'AK'
}

/** The name of the check that refused, wherever it is in the chain of causes. */
function checkOf(problem: MetabindError): string | undefined {
  for (let at: unknown = problem; at instanceof Error; at = at.cause) {
    if (at instanceof VerifyError) return at.check
  }
  return undefined
}
