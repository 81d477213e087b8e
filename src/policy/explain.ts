import { z } from 'zod'
import type { Caller } from '../caller/caller.ts'
import { canonicalTarget } from './canonical-path.ts'
import { type Decision, decide, type Mismatch, mismatch, type Policy } from './policy.ts'

const id = z.int().min(0).max(4_294_967_295)
const name = z.string().max(512)

/** A caller and a path to decide about. What is left out, the caller has not. */
export const explainBody = z.strictObject({
  uid: id,
  gid: id,
  groups: z.array(id).max(65_536),
  path: z.string().max(4096),
  unit: name.optional(),
  executable: name.optional(),
  container: name.optional(),
  /** Whether to look for the path as well. */
  look: z.boolean().optional(),
})

/** The answer of /metabind/v1/explain. */
export interface Explanation extends Decision {
  readonly mode: Policy['mode']
  readonly path: string
  /** Whether there is anything at the path; left out if nobody looked, or the source does not say. */
  readonly known?: boolean
  /** The rules before the one that decided, and what in each does not match. */
  readonly passedOver: readonly {
    readonly rule: number
    readonly name: string
    readonly mismatch: Mismatch
  }[]
}

/**
 * Says which rule decides for a caller and path, and why. It asks what a request asks.
 *
 * @throws MetabindError REQUEST_PATH
 */
export function explain(policy: Policy, asked: z.infer<typeof explainBody>): Explanation {
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
