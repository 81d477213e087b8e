import { z } from 'zod'
import type { ObservedRow } from '../cli/observed.ts'
import { askAdmin, makeToken, readMetadata, type Sockets } from '../client.ts'
import { MetabindError } from '../errors.ts'
import type { DirectReader } from './direct-readers.ts'
import type { Lockdown } from './rules.ts'

/** What lockdown and the policy in force would make of those who read the service directly now. */
export interface Verdict {
  /**
   * `answered` by the agent, as far as the policy lets it; `refused` whatever it asks for; `passes`
   * and `left-alone`: reaches the service itself.
   */
  readonly outcome: 'answered' | 'refused' | 'passes' | 'left-alone' | 'unknown'
  /** By what was asked about: ordinary metadata and role credentials, or the last path. */
  readonly permissions: Readonly<Record<string, string>>
  readonly says: string
}

/** Asks the agent for its policy's word about one caller and path, in words. */
export type AskPolicy = (who: Who, path: string) => Promise<string>

type Who = Pick<DirectReader, 'uid' | 'unit' | 'container'>

const ORDINARY_PATH = '/latest/meta-data/instance-id'
/** Of each dialect: where roles are listed, with their credentials below. */
const ROLE_LISTS = [
  '/latest/meta-data/ram/security-credentials/',
  '/latest/meta-data/iam/security-credentials/',
]
const TTL_SECONDS = '60'
// Over TCP the kernel names no group: (gid_t)-1 is none.
const NO_GID = 4_294_967_295
const NO_AGENT = 'unknown: the agent does not answer'

const explanation = z.object({ allowed: z.boolean(), why: z.string(), mode: z.string() })

/** The caller as a redirected one is seen: no groups, no executable. */
export function policyOf(sockets: Sockets): AskPolicy {
  return async ({ uid, unit, container }, path) => {
    const asked = { uid, gid: NO_GID, groups: [], path, unit, container }
    try {
      const raw = await askAdmin(sockets, 'POST', 'explain', asked)
      const { allowed, why, mode } = explanation.parse(raw)
      if (allowed) return 'allowed'
      return mode === 'audit' ? `allowed, but recorded: ${why}` : `refused: ${why}`
    } catch (error) {
      if (!(error instanceof MetabindError)) throw error
      return error.code === 'REQUEST_PATH' ? 'refused: no path of metadata' : NO_AGENT
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
  const credentials =
    credentialsPath === undefined
      ? 'unknown: no role can be read'
      : await ask(reader, credentialsPath)
  if (metadata === NO_AGENT) return { outcome: 'unknown', permissions: {}, says: NO_AGENT }
  const says = `metadata ${metadata}; credentials ${credentials}`
  return { outcome: 'answered', permissions: { metadata, credentials }, says }
}

/** What the firewall, or the agent before any rule of its policy, decides. */
function withoutPolicy(reader: DirectReader, plan: Lockdown): Verdict | undefined {
  if (reader.network === 'own') {
    if (plan.containers !== 'redirect') return ofContainers(plan.containers)
    if (reader.container !== undefined) return undefined
    return verdict('refused', 'in a network of its own, but in no container that is known as one')
  }
  if (reader.uid === plan.agentUid) return verdict('passes', "it runs as the agent's user")
  if (reader.pid === undefined) {
    return verdict('unknown', 'it ended before it could be looked at')
  }
  return reader.isPlaced ? undefined : verdict('refused', 'its cgroup cannot be seen')
}

function ofContainers(containers: 'refuse' | 'leave'): Verdict {
  return containers === 'leave'
    ? verdict('left-alone', 'in a network of its own, it reaches the service past the agent')
    : verdict('refused', 'in a network of its own; mount the socket into it')
}

function verdict(outcome: Verdict['outcome'], why: string): Verdict {
  return { outcome, permissions: {}, says: `${outcome.replace('-', ' ')}: ${why}` }
}

/** What would become of those who were observed: of their last path, and of reads without a token. */
export async function verdictOfObserved(
  row: ObservedRow,
  { containers }: Pick<Lockdown, 'containers'>,
  ask: AskPolicy,
): Promise<Verdict> {
  const { uid, unit, container, lastPath } = row
  if (row.network === 'own' && containers !== 'redirect') return ofContainers(containers)
  if (uid === undefined || !row.isPlaced) {
    const says = 'refused: nobody can be named for it'
    return { outcome: 'refused', permissions: {}, says }
  }
  const path = await ask({ uid, unit, container }, lastPath)
  const isTokenless = row.readsWithoutToken > 0 && row.readsWithToken === 0
  const tokenless = isTokenless ? 'refused: sends no token' : 'refused where it sends no token'
  const token = row.readsWithoutToken === 0 ? 'sends tokens' : tokenless
  const outcome = isTokenless ? 'refused' : path === NO_AGENT ? 'unknown' : 'answered'
  return { outcome, permissions: { lastPath: path, token }, says: `${token}; last path ${path}` }
}
