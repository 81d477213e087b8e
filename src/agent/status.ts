import type { AgentStatus } from '../admin/admin.ts'
import type { ChainHead } from '../audit/chain.ts'
import type { Config } from '../config.ts'
import { ERRORS } from '../error-table.ts'
import type { MetabindError } from '../errors.ts'
import type { InstanceIdentity } from '../format/instance-identity.ts'
import { iidOf } from '../format/instance-identity.ts'
import type { Endorsement } from '../identity/endorsement.ts'
import type { RefusedRole } from '../metadata/role-refusals.ts'
import type { LoadedPolicy } from '../policy/load.ts'
import { VERSION } from '../version.ts'
import type { StartupState } from './startup.ts'

/**
 * What the agent says about itself.
 *
 * @param problem what startup waits for, or why issuing and accepting have stopped
 * @param auditHead the end of the audit chain, if there is a file
 * @param refusedRoles see MetadataState
 */
export function agentStatus(
  config: Config,
  endpoint: string,
  state: StartupState,
  problem: MetabindError | undefined,
  { policy, from }: LoadedPolicy,
  auditHead: ChainHead | undefined,
  refusedRoles: readonly RefusedRole[],
): AgentStatus {
  const ready = state.at === 'ready' && problem === undefined
  const identity = identityIn(state)
  return {
    version: VERSION,
    state: state.at === 'ready' && !ready ? 'stopped' : state.at,
    ready,
    ...(problem === undefined ? {} : { problem: problemStatus(problem) }),
    ...(identity === undefined ? {} : { identity: identityStatus(identity) }),
    tpm: {
      tcti: config.tpm.tcti,
      ...('keys' in state ? endorsementStatus(state.keys.endorsement) : {}),
    },
    ...('selfTest' in state ? { selfTest: state.selfTest } : {}),
    source: {
      dialect: config.source.dialect,
      endpoint,
      ...(refusedRoles.length === 0 ? {} : { refusedRoles }),
    },
    policy: { mode: policy.mode, from, rules: policy.rules.length },
    sockets: { metadata: config.listen.metadata_socket, admin: config.listen.admin_socket },
    ...(auditHead === undefined || config.audit.file === undefined
      ? {}
      : { audit: { file: config.audit.file, seq: auditHead.seq, head: auditHead.hash } }),
  }
}

function identityIn(state: StartupState): InstanceIdentity | undefined {
  if (state.at === 'ready') return state.tokenKeys.identity
  return 'identity' in state ? state.identity : undefined
}

function endorsementStatus({ kind, unreadable }: Endorsement): Omit<AgentStatus['tpm'], 'tcti'> {
  return { ek: kind, ...(unreadable.length === 0 ? {} : { unreadable }) }
}

function problemStatus(problem: MetabindError): NonNullable<AgentStatus['problem']> {
  return { code: problem.code, sentence: problem.message, remedy: ERRORS[problem.code].remedy }
}

function identityStatus(identity: InstanceIdentity): NonNullable<AgentStatus['identity']> {
  return {
    dialect: identity.dialect,
    instanceId: identity.instanceId,
    iid: iidOf(identity).toString('hex'),
    ekName: identity.ekName.toString('hex'),
    akName: identity.akName.toString('hex'),
  }
}
