import { ADMIN_CALLS, type Observed } from '../admin-api.ts'
import { callAdmin } from '../admin-client.ts'
import type { Sockets } from '../agent-socket.ts'
import { NO_GID } from '../caller/no-group.ts'
import { makeToken, readMetadata } from '../client.ts'
import { MetabindError } from '../errors.ts'
import type { DirectReader } from './direct-readers.ts'
import type { Lockdown } from './rules.ts'

/** What lockdown and the policy in force would make of one who reads the service directly now. */
export type Verdict =
  /** Reaches the service itself: it runs as the agent's user. */
  | { readonly outcome: 'passes'; readonly reason: 'agent-user' }
  /** Reaches the service past the agent. */
  | { readonly outcome: 'left-alone'; readonly reason: 'left-network' }
  /** Whatever it asks for. */
  | { readonly outcome: 'refused'; readonly reason: Refusal }
  | { readonly outcome: 'unknown'; readonly reason: 'ended' | 'agent-silent' }
  /** By the agent, as far as the policy lets it. */
  | {
      readonly outcome: 'answered'
      readonly reason: 'policy'
      readonly metadata: Permission
      readonly credentials: Permission
    }
  /** By what was observed of it. */
  | {
      readonly outcome: 'answered' | 'refused' | 'unknown'
      readonly reason: 'observed'
      readonly lastPath: Permission
      readonly sendsTokens: 'always' | 'sometimes' | 'never'
    }

type Refusal = 'own-network' | 'unknown-container' | 'hidden-cgroup' | 'nobody-named'

/** What the policy says of one caller and path. */
export type Permission =
  | { readonly is: 'allowed' | 'no-path' | 'agent-silent' | 'no-role' }
  /** `recorded`: allowed, as the policy in force only records what it would refuse. */
  | { readonly is: 'recorded' | 'refused'; readonly why: string }

/** Asks the agent for its policy's word about one caller and path. */
export type AskPolicy = (who: Who, path: string) => Promise<Permission>

/** What is known of those who were observed, as far as it decides what becomes of them. */
export type ObservedReader = Omit<Observed, 'tokenRequests' | 'lastSeen'>

type Who = Pick<DirectReader, 'uid' | 'unit' | 'container'>

const ORDINARY_PATH = '/latest/meta-data/instance-id'
/** Of each dialect: where roles are listed, with their credentials below. */
const ROLE_LISTS = [
  '/latest/meta-data/ram/security-credentials/',
  '/latest/meta-data/iam/security-credentials/',
]
const TTL_SECONDS = '60'

/** The caller as a redirected one is seen: no groups, no executable. */
export function policyOf(sockets: Sockets): AskPolicy {
  return async ({ uid, unit, container }, path) => {
    // Over TCP the kernel names no group.
    const asked = { uid, gid: NO_GID, groups: [], path, unit, container }
    try {
      const { allowed, why, mode } = await callAdmin(sockets, ADMIN_CALLS.explain, asked)
      if (allowed) return { is: 'allowed' }
      return { is: mode === 'audit' ? 'recorded' : 'refused', why }
    } catch (error) {
      if (!(error instanceof MetabindError)) throw error
      return { is: error.code === 'REQUEST_PATH' ? 'no-path' : 'agent-silent' }
    }
  }
}

/**
 * Where the credentials of the instance's role are; rules may name it.
 *
 * @returns undefined if it has no role, or nobody can be asked
 */
export async function findCredentialsPath(sockets: Sockets): Promise<string | undefined> {
  for (const list of ROLE_LISTS) {
    try {
      const token = await makeToken(sockets, TTL_SECONDS)
      const [role = ''] = (await readMetadata(sockets, list, token)).body.toString().split('\n')
      if (role !== '') return `${list}${role.trim()}`
    } catch (error) {
      if (!(error instanceof MetabindError)) throw error
    }
  }
  return undefined
}

/** What would become of a process that was seen talking to the service. */
export async function verdictOf(
  reader: DirectReader,
  plan: Lockdown,
  credentialsPath: string | undefined,
  ask: AskPolicy,
): Promise<Verdict> {
  const settled = withoutPolicy(reader, plan)
  if (settled !== undefined) return settled
  const metadata = await ask(reader, ORDINARY_PATH)
  const credentials: Permission =
    credentialsPath === undefined ? { is: 'no-role' } : await ask(reader, credentialsPath)
  if (metadata.is === 'agent-silent') return { outcome: 'unknown', reason: 'agent-silent' }
  return { outcome: 'answered', reason: 'policy', metadata, credentials }
}

/** What the firewall, or the agent before any rule of its policy, decides. */
function withoutPolicy(reader: DirectReader, plan: Lockdown): Verdict | undefined {
  if (reader.network === 'own') {
    if (plan.containers !== 'redirect') return ofContainers(plan.containers)
    if (reader.container !== undefined) return undefined
    return { outcome: 'refused', reason: 'unknown-container' }
  }
  if (reader.uid === plan.agentUid) return { outcome: 'passes', reason: 'agent-user' }
  if (reader.pid === undefined) return { outcome: 'unknown', reason: 'ended' }
  return reader.isPlaced ? undefined : { outcome: 'refused', reason: 'hidden-cgroup' }
}

function ofContainers(containers: 'refuse' | 'leave'): Verdict {
  return containers === 'leave'
    ? { outcome: 'left-alone', reason: 'left-network' }
    : { outcome: 'refused', reason: 'own-network' }
}

/** What would become of those who were observed: of their last path, and of reads without a token. */
export async function verdictOfObserved(
  reader: ObservedReader,
  { containers }: Pick<Lockdown, 'containers'>,
  ask: AskPolicy,
): Promise<Verdict> {
  const { uid, unit, container } = reader
  if (reader.network === 'own' && containers !== 'redirect') return ofContainers(containers)
  if (uid === undefined || !reader.isPlaced) return { outcome: 'refused', reason: 'nobody-named' }
  const lastPath = await ask({ uid, unit, container }, reader.lastPath)
  const sendsTokens = tokensOf(reader)
  const otherwise = lastPath.is === 'agent-silent' ? 'unknown' : 'answered'
  const outcome = sendsTokens === 'never' ? 'refused' : otherwise
  return { outcome, reason: 'observed', lastPath, sendsTokens }
}

function tokensOf({ readsWithToken, readsWithoutToken }: ObservedReader) {
  if (readsWithoutToken === 0) return 'always'
  return readsWithToken === 0 ? 'never' : 'sometimes'
}
