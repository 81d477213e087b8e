import { isDeepStrictEqual } from 'node:util'
import type { Audit } from '../audit/audit.ts'
import { seesExecutables } from '../caller/process.ts'
import { causeChain, MetabindError } from '../errors.ts'
import { type LoadedPolicy, loadPolicy } from './load.ts'
import { openProofs, openSecrets } from './parse.ts'

/** The policy that requests are decided by, one at a time. */
export interface PolicyInForce {
  /** @throws MetabindError AGENT_NOT_READY before the first one was taken over */
  current(): LoadedPolicy
  /**
   * Takes over the policy of a file; if that is refused the one before stays.
   *
   * @param file undefined: the one of the package
   * @throws MetabindError POLICY_…
   */
  take(file: string | undefined): Promise<void>
}

// A directory service may have been away, or slow while the machine started.
const LOOK_UP_AGAIN_MS = 60_000

/** @param secretPaths patterns of the dialect */
export function policyInForce(secretPaths: readonly string[], audit: Audit): PolicyInForce {
  let policy: LoadedPolicy | undefined
  const takeOver = (loaded: LoadedPolicy): void => {
    policy = loaded
    audit({ event: 'policy.loaded', detail: inWords(loaded) })
    const { unknownAccounts } = loaded.policy
    if (unknownAccounts.length === 0) return
    audit({ event: 'policy.unknown-accounts', detail: unknownAccounts.join(' ') })
    lookUpLater(loaded)
  }
  const lookUpLater = (loaded: LoadedPolicy): void => {
    setTimeout(async () => {
      const again = await loaded.lookUpAgain()
      // Another policy may have been taken over meanwhile.
      if (policy !== loaded) return
      const isSame = isDeepStrictEqual(again.policy.unknownAccounts, loaded.policy.unknownAccounts)
      if (isSame) lookUpLater(loaded)
      else takeOver(again)
    }, LOOK_UP_AGAIN_MS).unref()
  }
  return {
    current: () => {
      if (policy === undefined) throw new MetabindError('AGENT_NOT_READY')
      return policy
    },
    take: async (file) => {
      try {
        takeOver(await loadPolicy(file, { secretPaths, seesExecutables: seesExecutables() }))
      } catch (error) {
        audit({ event: 'policy.not-loaded', detail: causeChain(error) })
        throw error
      }
    },
  }
}

function inWords({ policy, from }: LoadedPolicy): string {
  const open = openSecrets(policy).map(({ number }) => number)
  const secrets = open.length === 0 ? '' : `; secret paths are open to everybody by rule ${open}`
  const proven = openProofs(policy).map(({ number }) => number)
  const proofs = proven.length === 0 ? '' : `; proofs are given to everybody by rule ${proven}`
  return `${from}: ${policy.mode}, ${policy.rules.length} rules${secrets}${proofs}`
}
