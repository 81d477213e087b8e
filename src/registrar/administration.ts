import { MetabindError } from '../errors.ts'
import {
  type EnrolledInstance,
  type InstanceState,
  subjectOf,
} from '../registrar-repository/enrolled-instance.ts'
import {
  type RegistrarEventName,
  registrarEvent,
} from '../registrar-repository/registrar-events.ts'
import type { Repository } from '../registrar-repository/repository.ts'

/** What an administrator makes of an instance, with the states that it can be done to. */
const ACTIONS = {
  approve: { from: ['held', 'suspended'], to: 'active', event: 'instance.approved' },
  suspend: { from: ['held', 'active'], to: 'suspended', event: 'instance.suspended' },
  evict: {
    from: ['held', 'active', 'suspended', 'banned'],
    to: 'evicted',
    event: 'instance.evicted',
  },
  ban: { from: ['held', 'active', 'suspended'], to: 'banned', event: 'instance.banned' },
} as const satisfies Record<
  string,
  { from: readonly InstanceState[]; to: InstanceState; event: RegistrarEventName }
>
export type AdminAction = keyof typeof ACTIONS
export const ADMIN_ACTIONS: readonly AdminAction[] = ['approve', 'suspend', 'evict', 'ban']

/** How often it is tried again since the instance enrolled meanwhile. */
const TRIES = 5

/**
 * Does it, and writes who did.
 *
 * @param reason for those who look at it later
 * @param by who does it
 * @throws MetabindError ENROL_UNKNOWN, REGISTRAR_STATE if it cannot be done to an instance in its state, REGISTRAR_BUSY
 */
export async function administer(
  repository: Repository,
  action: AdminAction,
  iid: string,
  { reason, by }: { readonly reason: string | undefined; readonly by: string },
  nowMs: number,
): Promise<EnrolledInstance> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const instance = await repository.instance(iid)
    if (instance === undefined) throw new MetabindError('ENROL_UNKNOWN')
    const changed = changedBy(action, instance, reason)
    const { event } = ACTIONS[action]
    const was = instance.state
    const said = registrarEvent(event, { iid, subject: subjectOf(instance), was, reason, by })
    if (await repository.commit({ instances: [changed], events: [said] }, nowMs)) return changed
  }
  throw new MetabindError('REGISTRAR_BUSY', 'The instance is changed all the time.')
}

function changedBy(
  action: AdminAction,
  instance: EnrolledInstance,
  reason: string | undefined,
): EnrolledInstance {
  const { from, to } = ACTIONS[action]
  const isRight = from.some((state) => state === instance.state)
  if (!isRight) throw new MetabindError('REGISTRAR_STATE', `It is ${instance.state}.`)
  // What was suspected is over: the next enrolment goes on from the last one.
  const cleared = action === 'approve' ? { abandoned: [], restoredAtMs: undefined } : {}
  return { ...instance, ...cleared, revision: instance.revision + 1, state: to, reason }
}

/**
 * The instances that a word names: an iid or its beginning, an instance id, or what tokens call it.
 *
 * @returns two at most: enough to see that the word is not one's name
 */
export async function instancesNamed(
  repository: Repository,
  word: string,
): Promise<readonly EnrolledInstance[]> {
  const exact = /^[0-9a-f]{32}$/.test(word) ? await repository.instance(word) : undefined
  if (exact !== undefined) return [exact]
  const found: EnrolledInstance[] = []
  for await (const instance of allInstances(repository)) {
    const { iid, instanceId, state } = instance
    const isBeginning = word.length >= 4 && iid.startsWith(word)
    const isName = state !== 'evicted' && [instanceId, subjectOf(instance)].includes(word)
    if (isBeginning || isName) found.push(instance)
    if (found.length > 1) break
  }
  return found
}

const PAGE = 500

/** All of them, in the order of their iids. */
export async function* allInstances(repository: Repository): AsyncGenerator<EnrolledInstance> {
  for (let after = ''; ; ) {
    const page = await repository.instances(after, PAGE)
    yield* page
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    after = last.iid
  }
}
