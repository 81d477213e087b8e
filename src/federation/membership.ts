import { type ErrorCode, MetabindError } from '../errors.ts'
import { heldMs, refusedMs, renewMs, retryMs } from './delays.ts'
import type { Enrolled } from './enrol.ts'
import type { EnrolmentRecord } from './record-file.ts'
import { RegistrarDown, RegistrarRefusal } from './registrar-errors.ts'

/** How this instance stands with the registrar. */
export type Standing =
  /** It has not answered yet, or has forgotten the instance. */
  | { readonly is: 'waiting' }
  | {
      /** `held`: until somebody approves it there. */
      readonly is: 'enrolled' | 'held'
      readonly subject: string
      readonly generation: number
      readonly expiresAtMs: number
    }
  /** Somebody has to act there, such as after a suspension. */
  | { readonly is: 'refused'; readonly reason: ErrorCode }

/** Keeps this instance enrolled, from its start to its end. It never fails, and nobody waits for it. */
export interface Membership {
  readonly standing: Standing
  /** Why the last attempt came to nothing; undefined if it did not. */
  readonly problem: MetabindError | undefined
  /** When the next attempt is due, on the clock of nowMs. */
  readonly nextAtMs: number
  start(): void
  /** Enrols as soon as may be: another machine may be what this is now. */
  enrolAgain(): void
  /** A token was refused: the instance is not what it was to the registrar. */
  refused(reason: ErrorCode): void
  end(): void
}

export interface MembershipDeps {
  /** @param generation that the registrar gave last; 0 if none is known */
  readonly enrol: (generation: number) => Promise<Enrolled>
  /** Of an earlier process. */
  readonly kept: EnrolmentRecord | undefined
  readonly keep: (enrolled: Enrolled) => void
  /** Told when another thing is to be known of it: not of each renewal. */
  readonly onStanding: (standing: Standing) => void
  /** Told of each attempt, and why it came to nothing if it did. */
  readonly onAttempt: (problem: MetabindError | undefined, failuresBefore: number) => void
  readonly nowMs: () => number
  readonly random: () => number
}

/** Of these a fresh attempt is the remedy: two crossed, or an attempt took too long. */
const PASSING: readonly ErrorCode[] = ['ENROL_NONCE', 'ENROL_CHALLENGE', 'ENROL_LATE']
/** Of a token: the registrar does not know the instance any more, or not for now. */
const FORGOTTEN: readonly ErrorCode[] = ['ENROL_UNKNOWN', 'ENROL_EXPIRED', 'ENROL_HELD']
const OF_STANDING: readonly ErrorCode[] = ['ENROL_SUSPENDED', 'ENROL_BANNED', 'ENROL_CLONED']

export function membership(deps: MembershipDeps): Membership {
  const { kept, nowMs, random } = deps
  let standing: Standing = standingOf(kept, nowMs())
  let generation = kept?.generation ?? 0
  let problem: MetabindError | undefined
  let failures = 0
  // How often it was forgotten since an enrolment held until its renewal.
  let forgotten = 0
  let nextAtMs = nowMs()
  let timer: NodeJS.Timeout | undefined
  let isUnderWay = false
  let isWantedAgain = false
  let hasEnded = false
  // By an answer of this process.
  let isConfirmed = false

  const later = (ms: number): void => {
    if (hasEnded) return
    clearTimeout(timer)
    nextAtMs = nowMs() + ms
    timer = setTimeout(() => void attempt(), ms).unref()
  }
  const become = (next: Standing): void => {
    const before = standing
    standing = next
    const isNew = before.is !== next.is || reasonOf(before) !== reasonOf(next)
    if (isNew || !isConfirmed) deps.onStanding(next)
    isConfirmed = true
  }
  const succeeded = (enrolled: Enrolled): void => {
    const { state, subject, expiresAtMs, lifeMs } = enrolled
    generation = enrolled.generation
    problem = undefined
    failures = 0
    deps.keep(enrolled)
    deps.onAttempt(undefined, 0)
    const is = state === 'held' ? 'held' : 'enrolled'
    become({ is, subject, generation, expiresAtMs })
    later(is === 'held' ? heldMs(random()) : renewMs(lifeMs, random()))
  }
  const refuse = (reason: ErrorCode): void => {
    become({ is: 'refused', reason })
    later(refusedMs(random()))
  }
  const failed = (thrown: unknown): void => {
    problem =
      thrown instanceof MetabindError ? thrown : new MetabindError('INTERNAL', undefined, thrown)
    deps.onAttempt(problem, failures)
    const saidMs = thrown instanceof RegistrarDown ? thrown.retryAfterMs : undefined
    if (thrown instanceof RegistrarRefusal && !PASSING.includes(thrown.reason)) {
      failures = 0
      refuse(thrown.reason)
      return
    }
    later(retryMs(failures, random(), saidMs))
    failures += 1
  }
  const attempt = async (): Promise<void> => {
    isUnderWay = true
    if (standing.is === 'enrolled') forgotten = 0
    try {
      succeeded(await deps.enrol(generation))
    } catch (error) {
      if (!hasEnded) failed(error)
    } finally {
      isUnderWay = false
    }
    if (isWantedAgain) later(0)
    isWantedAgain = false
  }
  const soon = (): void => {
    // The one under way began before whatever happened.
    if (isUnderWay) isWantedAgain = true
    // While nobody answers, whoever asks for it does not make it more.
    else if (failures === 0) later(0)
  }
  return {
    get standing() {
      return standing
    },
    get problem() {
      return problem
    },
    get nextAtMs() {
      return nextAtMs
    },
    start: () => later(0),
    enrolAgain: soon,
    refused: (reason) => {
      if (OF_STANDING.includes(reason)) refuse(reason)
      else if (FORGOTTEN.includes(reason) && standing.is === 'enrolled') {
        become({ is: 'waiting' })
        // One that forgets whom it has just taken would have the TPM busy for each token that is asked for.
        if (forgotten === 0) soon()
        else if (!isUnderWay) later(retryMs(forgotten - 1, random()))
        forgotten += 1
      }
    },
    end: () => {
      hasEnded = true
      clearTimeout(timer)
    },
  }
}

function reasonOf(standing: Standing): ErrorCode | undefined {
  return 'reason' in standing ? standing.reason : undefined
}

/** Until the first answer an earlier process's word counts: an agent that is restarted goes on giving tokens. */
function standingOf(kept: EnrolmentRecord | undefined, nowMs: number): Standing {
  if (kept === undefined || kept.expiresAtMs <= nowMs) return { is: 'waiting' }
  const { subject, generation, expiresAtMs } = kept
  return { is: 'enrolled', subject, generation, expiresAtMs }
}
