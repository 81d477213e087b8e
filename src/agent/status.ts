import type { AgentStatus, RefusedRole } from '../admin-api.ts'
import type { ChainHead } from '../audit/chain.ts'
import type { Config } from '../config.ts'
import { ERRORS } from '../error-table.ts'
import type { MetabindError } from '../errors.ts'
import type { InstanceIdentity } from '../format/instance-identity.ts'
import { iidOf } from '../format/instance-identity.ts'
import type { Endorsement } from '../identity/endorsement.ts'
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
    problem: problem && problemStatus(problem),
    identity: identity && identityStatus(identity),
    tpm: {
      tcti: config.tpm.tcti,
      ...('keys' in state ? endorsementStatus(state.keys.endorsement) : {}),
    },
    selfTest: 'selfTest' in state ? state.selfTest : undefined,
    source: {
      dialect: config.source.dialect,
      endpoint,
      refusedRoles: refusedRoles.length === 0 ? undefined : refusedRoles,
    },
    policy: { mode: policy.mode, from, rules: policy.rules.length },
    sockets: { metadata: config.listen.metadata_socket, admin: config.listen.admin_socket },
    audit: auditHead && auditStatus(config.audit.file, auditHead),
  }
}

function auditStatus(file: string | undefined, head: ChainHead): AgentStatus['audit'] {
  return file === undefined ? undefined : { file, seq: head.seq, head: head.hash }
}

function identityIn(state: StartupState): InstanceIdentity | undefined {
  if (state.at === 'ready') return state.tokenKeys.identity
  return 'identity' in state ? state.identity : undefined
}

function endorsementStatus({ kind, unreadable }: Endorsement): Omit<AgentStatus['tpm'], 'tcti'> {
  return { ek: kind, unreadable: unreadable.length === 0 ? undefined : unreadable }
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
