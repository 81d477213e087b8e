import { type ClockReading, clockProgress, isProgress } from '../format/tpm-clock.ts'
import type { EnrolledInstance } from '../registrar-repository/enrolled-instance.ts'
import { SKEW_MS } from './enrolment-nonce.ts'

/**
 * Tells one machine that went on from two that go on side by side.
 *
 * Each accepted enrolment has a number, the generation, which the instance keeps and shows the next time. One that shows
 * an older number has lost a reply, or was restored: it gets a new one, and the numbers behind the one that it showed are
 * abandoned. Only a second machine, on the branch that was left, would ever show one of those. The counters of the TPM are
 * the second sign: going back once may be a restored snapshot, twice within a day is two machines that take turns.
 *
 * What the first of two copies does is thus indistinguishable from a restored machine; the next word of the other one
 * suspends both, as they are one row.
 */

export const RESTORE_AGAIN_MS = 86_400_000
const ABANDONED_MAX = 64

/** What an enrolment shows of the machine's past. */
export interface Shown {
  /** 0: it has none. */
  readonly generation: number
  readonly counters: ClockReading
  /** When the nonce of its evidence was made: the evidence is from later. */
  readonly nonceIssuedAtMs: number
}

/** What the row becomes, or why it is to be suspended, or that a later enrolment came first. */
export type Continuation =
  | {
      readonly is: 'next'
      readonly change: Pick<EnrolledInstance, 'generation' | 'abandoned' | 'restoredAtMs'>
      /** Worth an event: the machine seems to have been restored. */
      readonly restored: string | undefined
    }
  | { readonly is: 'late' }
  | { readonly is: 'forked'; readonly why: string }

export function continuationOf(last: EnrolledInstance, shown: Shown, nowMs: number): Continuation {
  // Of two enrolments of one machine that crossed on their way, the older one says nothing about a copy.
  // Times of the future are of a clock that was set right since: by them nobody is late, or kept out until then.
  const isComparable = last.seenAtMs <= nowMs + SKEW_MS
  if (isComparable && shown.nonceIssuedAtMs < last.seenAtMs) return { is: 'late' }
  const { generation } = shown
  if (isAbandoned(last, generation)) {
    return { is: 'forked', why: `generation ${generation} was left behind, and another went on` }
  }
  const progress = clockProgress(last.record, shown.counters)
  const isBack = !isProgress(progress)
  if (isBack && nowMs - (last.restoredAtMs ?? Number.NEGATIVE_INFINITY) < RESTORE_AGAIN_MS) {
    return { is: 'forked', why: `its TPM is ${progress} for the second time within a day` }
  }
  const signs = [
    ...(isBack ? [`its TPM is ${progress}`] : []),
    ...(isEarlier(last, generation) ? [`it shows generation ${generation}`] : []),
    ...(generation > last.generation ? [`it shows generation ${generation}, of the future`] : []),
  ]
  return {
    is: 'next',
    change: {
      generation: Math.max(generation, last.generation) + 1,
      abandoned: abandonedAfter(last, generation),
      restoredAtMs: isBack ? nowMs : last.restoredAtMs,
    },
    restored: signs.length === 0 ? undefined : signs.join('; '),
  }
}

/** Whether it is of before the last one. One behind is a reply that was lost, and so is more if all of those were. */
function isEarlier({ generation, abandoned }: EnrolledInstance, shown: number): boolean {
  const lost = abandoned.at(-1)
  const isLostAgain = lost?.[0] === shown + 1 && lost[1] === generation - 1
  return shown < generation - 1 && !isLostAgain
}

function isAbandoned({ abandoned }: EnrolledInstance, generation: number): boolean {
  return abandoned.some(([first, last]) => generation >= first && generation <= last)
}

/** The oldest are forgotten: who shows one of those is taken for restored. */
function abandonedAfter(last: EnrolledInstance, shown: number): EnrolledInstance['abandoned'] {
  if (shown >= last.generation) return last.abandoned
  const kept = last.abandoned.filter(([first]) => first <= shown)
  const added: [number, number] = [shown + 1, last.generation]
  return [...kept, added].slice(-ABANDONED_MAX)
}
