import { CHAIN_ORIGIN, type ChainHead, decodeLine } from '../audit/chain.ts'
import { MetabindError } from '../errors.ts'
import type { KeyRing } from '../registrar-keys/key-ring.ts'
import type { KeySchedule } from '../registrar-keys/key-schedule.ts'
import { signedJwt } from '../registrar-keys/signed-jwt.ts'
import { continuedBy } from '../registrar-repository/event-chain.ts'
import {
  CHECKPOINT_TYPE,
  type CheckpointClaims,
  type EventCheckpoint,
  headOfCheckpoint,
  readEventCheckpoint,
} from '../registrar-repository/event-checkpoint.ts'
import type { Repository, StoredCheckpoint } from '../registrar-repository/repository.ts'

/** Signs the end of the chain of events, at intervals. */
export interface EventCheckpoints {
  /**
   * Signs where the chain ends, if that was not done, and the last time is long enough ago or the end has come.
   *
   * What is signed continues what was signed before: a chain that was cut or made anew since then is not, however often
   * it is asked for, so that nobody gets their own signed who can write the database alone.
   *
   * @throws MetabindError REGISTRAR_EVENTS if it was; REGISTRAR_CHECKPOINT if the last in the database is none
   */
  sign(when: 'due' | 'now'): Promise<void>
}

interface CheckpointDeps {
  /** The registrar's own name. */
  readonly url: string
  readonly repository: Pick<Repository, 'events' | 'addCheckpoint' | 'lastCheckpoint'>
  /** With keys of the kind `checkpoint`. */
  readonly keys: Pick<KeyRing, 'signing' | 'published'>
  readonly everyMs: number
  readonly nowMs: () => number
  /** Told of each that this replica made: a copy of it belongs where the database is not. */
  readonly onSigned: (checkpoint: StoredCheckpoint) => void
}

const DAY_MS = 86_400_000
/** One key names the next for a month before that signs: who kept any checkpoint can follow. */
export const CHECKPOINT_SCHEDULE: KeySchedule = { rotateMs: 365 * DAY_MS, overlapMs: 31 * DAY_MS }

const EVENTS_PAGE = 500

export function eventCheckpoints(deps: CheckpointDeps): EventCheckpoints {
  /** What this process has signed or found signed last. In memory, where who writes the database cannot change it. */
  let known: ChainHead = CHAIN_ORIGIN
  const sign = async (when: 'due' | 'now'): Promise<void> => {
    const keys = keysOf(deps)
    const last = await lastOfOurs(deps)
    if (last !== undefined && last.seq > known.seq) {
      await requireHolding(deps, known)
      known = headOfCheckpoint(last)
    }
    const isSame = last?.kid === keys.kid && last.next.join() === keys.next.join()
    const isFresh = last !== undefined && ageMs(last, deps.nowMs()) < deps.everyMs
    if (when === 'due' && isSame && isFresh) return
    const head = await followed(deps, known)
    known = head
    if (head.seq === 0 || (isSame && last.seq === head.seq)) return
    const claims: CheckpointClaims = {
      registrar: deps.url,
      time: new Date(deps.nowMs()).toISOString(),
      ...{ seq: head.seq, hash: head.hash, key: keys.signing, next: keys.next },
    }
    const jws = (await signedJwt(deps.keys, 'checkpoint', CHECKPOINT_TYPE, claims)).reveal()
    const checkpoint = { seq: head.seq, keys: [keys.kid, ...keys.next].join(' '), jws }
    // Of two replicas that sign the same at the same time the second is in vain.
    if (await deps.repository.addCheckpoint(checkpoint)) deps.onSigned(checkpoint)
  }
  return { sign }
}

/** The key that signs, with those that follow it. @throws MetabindError INTERNAL if none was made yet */
function keysOf({ keys }: CheckpointDeps) {
  const { kid } = keys.signing('checkpoint')
  const published = keys.published.filter(({ kind }) => kind === 'checkpoint')
  const signing = published.find((key) => key.kid === kid)
  if (signing?.jwk.kty !== 'EC') throw new MetabindError('INTERNAL', 'no key for checkpoint')
  const { crv, x, y } = signing.jwk
  const next = published
    .filter(({ startsAtMs }) => startsAtMs > signing.startsAtMs)
    .map((key) => key.kid)
    .toSorted()
  const key = { kty: 'EC', crv: 'P-256', x, y } as const
  if (crv !== key.crv) throw new MetabindError('INTERNAL', 'another curve')
  return { kid, signing: key, next }
}

/** @returns nothing of another key, which somebody put there who has none of ours, or which is long over */
async function lastOfOurs({
  repository,
  keys,
}: CheckpointDeps): Promise<EventCheckpoint | undefined> {
  const stored = await repository.lastCheckpoint()
  const last = stored && readEventCheckpoint(stored.jws)
  const isOurs = keys.published.some(({ kind, kid }) => kind === 'checkpoint' && kid === last?.kid)
  return isOurs ? last : undefined
}

/** Of another clock it may be of a time that is to come. */
function ageMs({ time }: EventCheckpoint, nowMs: number): number {
  return Math.abs(nowMs - Date.parse(time))
}

/** @throws MetabindError REGISTRAR_EVENTS if an event that is known is not in the chain any more */
async function requireHolding({ repository }: CheckpointDeps, head: ChainHead): Promise<void> {
  if (head.seq === 0) return
  const [text = ''] = await repository.events(head.seq - 1, 1)
  if (decodeLine(text)?.hash === head.hash) return
  const why = `Event ${head.seq}, which was there, is not the one that it was.`
  throw new MetabindError('REGISTRAR_EVENTS', why)
}

/** @returns where the chain ends @throws MetabindError REGISTRAR_EVENTS if it does not go on from there */
async function followed(deps: CheckpointDeps, from: ChainHead): Promise<ChainHead> {
  await requireHolding(deps, from)
  let head = from
  for (;;) {
    const lines = await deps.repository.events(head.seq, EVENTS_PAGE)
    for (const text of lines) {
      const next = continuedBy(head, text)
      if ('broken' in next) {
        throw new MetabindError('REGISTRAR_EVENTS', `Event ${head.seq + 1}: ${next.broken}.`)
      }
      head = next.head
    }
    if (lines.length < EVENTS_PAGE) return head
  }
}
