import { causeChain, MetabindError } from '../errors.ts'
import type { Audit } from '../relay/audit.ts'
import { openSecrets } from '../relay/policy-file.ts'
import { type LoadedPolicy, loadPolicy } from '../relay/policy-load.ts'
import { seesExecutables } from '../relay/process.ts'

/** The policy that requests are decided by, one at a time. */
export interface PolicyInForce {
  /** @throws MetabindError AGENT_NOT_READY before the first one was taken over */
  current(): LoadedPolicy
  /**
   * Takes over the policy of a file; where that is refused the one before stays.
   *
   * @param file undefined: the one of the package
   * @throws MetabindError POLICY_…
   */
  take(file: string | undefined): Promise<void>
}

/** @param secretPaths patterns of the dialect */
export function policyInForce(secretPaths: readonly string[], audit: Audit): PolicyInForce {
  let policy: LoadedPolicy | undefined
  return {
    current: () => {
      if (policy === undefined) throw new MetabindError('AGENT_NOT_READY')
      return policy
    },
    take: async (file) => {
      try {
        policy = await loadPolicy(file, { secretPaths, seesExecutables: seesExecutables() })
      } catch (error) {
        audit({ event: 'policy.not-loaded', detail: causeChain(error) })
        throw error
      }
      audit({ event: 'policy.loaded', detail: inWords(policy) })
    },
  }
}

function inWords({ policy, from }: LoadedPolicy): string {
  const open = openSecrets(policy).map(({ number }) => number)
  const secrets = open.length === 0 ? '' : `; secret paths are open to everybody by rule ${open}`
  return `${from}: ${policy.mode}, ${policy.rules.length} rules${secrets}`
}
