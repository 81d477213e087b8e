import type { ExplainRequest, Explanation } from '../admin-api.ts'
import type { Caller } from '../caller/caller.ts'
import { canonicalTarget } from './canonical-path.ts'
import { decide, mismatch, type Policy } from './policy.ts'

/**
 * Says which rule decides for a caller and path, and why. It asks what a request asks.
 *
 * @throws MetabindError REQUEST_PATH
 */
export function explain(policy: Policy, asked: ExplainRequest): Explanation {
  const { path: target, unit, executable, container, look: _look, ...ids } = asked
  const caller: Caller = {
    ...ids,
    pid: 0,
    namespaces: [],
    ...(unit === undefined ? {} : { unit }),
    ...(executable === undefined ? {} : { executable }),
    ...(container === undefined ? {} : { container }),
  }
  return explainFor(policy, caller, target)
}

/**
 * The same for whoever asks about themselves, as the kernel describes them.
 *
 * @throws MetabindError REQUEST_PATH
 */
export function explainFor(policy: Policy, caller: Caller, target: string): Explanation {
  const { path } = canonicalTarget(target)
  const passedOver: Explanation['passedOver'][number][] = []
  for (const rule of policy.rules) {
    const why = mismatch(rule, caller, path)
    if (why === undefined) break
    passedOver.push({ rule: rule.number, name: rule.name, mismatch: why })
  }
  return { ...decide(policy, caller, path), mode: policy.mode, path, passedOver }
}
