import type {
  ExplainProofRequest,
  ExplainRequest,
  Explanation,
  ProofExplanation,
} from '../admin-api.ts'
import type { Caller } from '../caller/caller.ts'
import { askedFor } from './audience.ts'
import { canonicalTarget } from './canonical-path.ts'
import {
  decide,
  decideProof,
  type Mismatch,
  mismatch,
  type Policy,
  type ProofAsked,
  proofMismatch,
  type Rule,
} from './policy.ts'
import { readProofUrl } from './proof-url.ts'

/**
 * Says which rule decides for a caller and path, and why. It asks what a request asks.
 *
 * @throws MetabindError REQUEST_PATH, REQUEST_QUERY
 */
export function explain(policy: Policy, asked: ExplainRequest): Explanation {
  const { path: target, look: _look, ...described } = asked
  return explainFor(policy, callerOf(described), target)
}

/**
 * The same for a proof.
 *
 * @throws MetabindError PROOF_URL
 */
export function explainProof(policy: Policy, asked: ExplainProofRequest): ProofExplanation {
  const { url, method, ...described } = asked
  return explainProofFor(policy, callerOf(described), { url: readProofUrl(url), method })
}

function callerOf(described: Omit<ExplainRequest, 'path' | 'look'>): Caller {
  const { unit, executable, container, ...ids } = described
  return {
    ...ids,
    pid: 0,
    namespaces: [],
    ...(unit === undefined ? {} : { unit }),
    ...(executable === undefined ? {} : { executable }),
    ...(container === undefined ? {} : { container }),
  }
}

/**
 * The same for whoever asks about themselves, as the kernel describes them.
 *
 * @param target a path; of one that takes an audience with `?audience=…`, or without one to ask about none
 * @throws MetabindError REQUEST_PATH, REQUEST_QUERY
 */
export function explainFor(policy: Policy, caller: Caller, target: string): Explanation {
  const { path, query } = canonicalTarget(target)
  const audience = query === undefined ? undefined : askedFor(path, query)?.audience
  const passedOver = passedOverBy(policy, (rule) => mismatch(rule, caller, path, audience))
  return { ...decide(policy, caller, path, audience), mode: policy.mode, path, passedOver }
}

/** Whoever asks about a proof for themselves; the mode of the policy does not count for proofs. */
export function explainProofFor(
  policy: Policy,
  caller: Caller,
  asked: ProofAsked,
): ProofExplanation {
  const passedOver = passedOverBy(policy, (rule) => proofMismatch(rule, caller, asked))
  const { url, method } = asked
  return { ...decideProof(policy, caller, asked), url: url.text, method, passedOver }
}

/** The rules before the one that decides, and why each does not. */
function passedOverBy(
  { rules }: Policy,
  mismatchOf: (rule: Rule) => Mismatch | undefined,
): Explanation['passedOver'] {
  const passedOver: Explanation['passedOver'][number][] = []
  for (const rule of rules) {
    const why = mismatchOf(rule)
    if (why === undefined) break
    passedOver.push({ rule: rule.number, name: rule.name, mismatch: why })
  }
  return passedOver
}
