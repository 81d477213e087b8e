import {
  type EnrolledInstance,
  type InstanceState,
  subjectOf,
} from '../registrar-repository/enrolled-instance.ts'
import { registrarEvent } from '../registrar-repository/registrar-events.ts'
import type { Change } from '../registrar-repository/repository.ts'
import type { Admitted } from './admission.ts'
import { continuationOf } from './fork-detection.ts'

/** What was proven, by whom, and what the rules say of it. */
export interface Candidate {
  readonly admitted: Admitted
  readonly generation: number
  readonly nonceIssuedAtMs: number
  /** The address that it came from. */
  readonly source: string
  /** Of who was never here: by the rules. */
  readonly state: Extract<InstanceState, 'active' | 'held'>
  readonly lifetimeMs: number
}

type EnrolmentRefusal =
  | 'ENROL_BANNED'
  | 'ENROL_CLONED'
  | 'ENROL_REINSTALLED'
  | 'ENROL_SUSPENDED'
  | 'ENROL_LATE'

/** What is to be written, and the instance as it is then or the code of the refusal. */
export type EnrolmentDecision = Pick<Change, 'instances' | 'events'> &
  ({ readonly enrolled: EnrolledInstance } | { readonly refusal: EnrolmentRefusal })

/**
 * Decides on an enrolment: values in, writes out. They hold only if nothing of `related` has changed when they are
 * written, which the repository sees to.
 *
 * @param related what it shares an id or a key with
 */
export function decideEnrolment(
  candidate: Candidate,
  related: readonly EnrolledInstance[],
  nowMs: number,
): EnrolmentDecision {
  const { admitted } = candidate
  const living = related.filter(({ state }) => state !== 'evicted')
  const ofTpm = living.filter(
    ({ ekName, akName }) => ekName === admitted.ekName || akName === admitted.akName,
  )
  if (ofTpm.some(({ state }) => state === 'banned')) return refused('ENROL_BANNED')
  const elsewhere = ofTpm.filter((one) => subjectOf(one) !== subjectOf(admitted))
  if (elsewhere.length > 0) return clonedElsewhere(candidate, elsewhere)
  const own = living.find(({ iid }) => iid === admitted.iid)
  if (own === undefined && living.length > 0) return refused('ENROL_REINSTALLED')
  if (own === undefined) {
    const evicted = related.find(({ iid }) => iid === admitted.iid)
    return enrolledAnew(candidate, evicted?.revision ?? 0, nowMs)
  }
  if (own.state === 'suspended') return refused('ENROL_SUSPENDED')
  return continued(candidate, own, nowMs)
}

function continued(candidate: Candidate, own: EnrolledInstance, nowMs: number): EnrolmentDecision {
  const { generation, nonceIssuedAtMs, admitted } = candidate
  const counters = { ...admitted.record, safe: admitted.isClockSafe }
  const shown = { generation, nonceIssuedAtMs, counters }
  const continuation = continuationOf(own, shown, nowMs)
  if (continuation.is === 'late') return refused('ENROL_LATE')
  if (continuation.is === 'forked') {
    const { suspended, event } = suspendedFor(own, continuation.why, candidate)
    return { refusal: 'ENROL_CLONED', instances: [suspended], events: [event] }
  }
  const enrolled = {
    ...own,
    ...shownBy(candidate, nowMs),
    ...continuation.change,
    revision: own.revision + 1,
  }
  const { restored } = continuation
  const { source } = candidate
  const event = registrarEvent('instance.restored', { ...named(own), why: restored, source })
  return { enrolled, instances: [enrolled], events: restored === undefined ? [] : [event] }
}

function enrolledAnew(
  candidate: Candidate,
  revisionBefore: number,
  nowMs: number,
): EnrolmentDecision {
  const { admitted, state, source } = candidate
  const { iid, dialect, instanceId, ekName, akName, ekSpkiSha256 } = admitted
  const enrolled: EnrolledInstance = {
    ...{ iid, dialect, instanceId, ekName, akName, ekSpkiSha256 },
    ...shownBy(candidate, nowMs),
    revision: revisionBefore + 1,
    state,
    generation: candidate.generation + 1,
    abandoned: [],
    enrolledAtMs: nowMs,
  }
  const anchor = enrolled.anchor
  const name = state === 'held' ? 'instance.held' : 'instance.enrolled'
  const event = registrarEvent(name, { anchor, source, ...named(enrolled) })
  return { enrolled, instances: [enrolled], events: [event] }
}

/** One TPM under two instance ids: which of them is the copy nobody can tell here. */
function clonedElsewhere(
  candidate: Candidate,
  elsewhere: readonly EnrolledInstance[],
): EnrolmentDecision {
  const why = `its TPM is also that of ${subjectOf(candidate.admitted)}`
  const made = elsewhere
    .filter(({ state }) => state === 'active' || state === 'held')
    .map((one) => suspendedFor(one, why, candidate))
  return {
    refusal: 'ENROL_CLONED',
    instances: made.map(({ suspended }) => suspended),
    events: made.map(({ event }) => event),
  }
}

/** Names both sources: the one that was accepted last, and the one that is refused. */
function suspendedFor(own: EnrolledInstance, why: string, { source, admitted }: Candidate) {
  const sources = [own.source, source]
  const clocks = [own.record, admitted.record].map(
    ({ resetCount, restartCount, clockMs }) => `${resetCount}/${restartCount}/${clockMs}`,
  )
  const reason = `${why}; last accepted from ${own.source}, now from ${source}`
  const suspended: EnrolledInstance = {
    ...own,
    revision: own.revision + 1,
    state: 'suspended',
    reason,
  }
  const event = registrarEvent('instance.suspended', { ...named(own), why, sources, clocks })
  return { suspended, event }
}

function refused(refusal: EnrolmentRefusal): EnrolmentDecision {
  return { refusal, instances: [], events: [] }
}

function named(one: Pick<EnrolledInstance, 'iid' | 'dialect' | 'instanceId'>) {
  return { iid: one.iid, subject: subjectOf(one) }
}

/** What each accepted enrolment says anew. */
function shownBy({ admitted, source, lifetimeMs }: Candidate, nowMs: number) {
  const { sk, anchor, proven, record } = admitted
  return { sk, anchor, proven, record, source, seenAtMs: nowMs, expiresAtMs: nowMs + lifetimeMs }
}
