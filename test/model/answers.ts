import type { Model, Taken } from './machine.ts'

/**
 * One secret path that two callers ask for, each with a token, on kept connections, through one cache and one source:
 * under a policy that is reloaded while they wait.
 */

const READERS = ['alice', 'bob'] as const
export type ReaderName = (typeof READERS)[number]
/** Whom a policy lets read. */
export const POLICIES = ['alice', 'bob', 'nobody'] as const
export type PolicyName = (typeof POLICIES)[number]

/** What the source says next time. */
type Said = 'secret' | 'absent' | 'fault'

export interface Answers {
  readonly policy: PolicyName
  readonly isStopped: boolean
  /** Whose tokens are revoked. */
  readonly revoked: readonly ReaderName[]
  readonly cached: 'nothing' | 'secret' | 'absent'
  /** Who waits for the one read that is under way, in the order of asking. */
  readonly waiting: readonly ReaderName[]
  /** The policy that each has been judged by last, whose verdict goes with the connection. */
  readonly judgedBy: Readonly<Record<ReaderName, PolicyName | undefined>>
  /** Failures of late hold the source back. */
  readonly isHeldBack: boolean
}

export type AnswersAction = 'ask' | 'said' | 'reload' | 'revoke' | 'stop' | 'resume' | 'later'

export const ANSWERS_GUARDS = {
  /** A verdict that was found before counts for no other policy. */
  verdict: true,
  policy: true,
  revocation: true,
  running: true,
  /** What was waited for is decided once more. */
  policyStill: true,
  revocationStill: true,
  runningStill: true,
}
type Guards = typeof ANSWERS_GUARDS

export function answers(guards = ANSWERS_GUARDS): Model<Answers, AnswersAction> {
  return {
    initial: {
      policy: 'alice',
      isStopped: false,
      revoked: [],
      cached: 'nothing',
      waiting: [],
      judgedBy: { alice: undefined, bob: undefined },
      isHeldBack: false,
    },
    actions: {
      ask: (state) =>
        READERS.filter((reader) => !state.waiting.includes(reader)).map((reader) =>
          ask(guards, state, reader),
        ),
      said: (state) =>
        state.waiting.length === 0
          ? []
          : (['secret', 'absent', 'fault'] as const).map((said) => sourceSays(guards, state, said)),
      reload: (state) =>
        POLICIES.filter((policy) => policy !== state.policy).map((policy) =>
          does([policy], 'reloaded', { ...state, policy }),
        ),
      revoke: (state) =>
        READERS.filter((reader) => !state.revoked.includes(reader)).map((reader) =>
          does([reader], 'revoked', { ...state, revoked: [...state.revoked, reader].toSorted() }),
        ),
      stop: (state) =>
        state.isStopped ? [] : [does([], 'stopped', { ...state, isStopped: true })],
      resume: (state) =>
        state.isStopped ? [does([], 'resumed', { ...state, isStopped: false })] : [],
      // Whatever was cached has ended, and the source may be asked again.
      later: (state) =>
        state.waiting.length > 0 || (state.cached === 'nothing' && !state.isHeldBack)
          ? []
          : [does([], 'later', { ...state, cached: 'nothing', isHeldBack: false })],
    },
    never: {
      'a caller is answered whom the policy refuses': answered(
        (state, reader) => state.policy !== reader,
      ),
      'a caller is answered whose token is revoked': answered((state, reader) =>
        state.revoked.includes(reader),
      ),
      'a caller is answered while the agent has stopped': answered((state) => state.isStopped),
    },
    shows: ({ waiting }) => `${waiting.length > 0 ? 1 : 0} asked of the source`,
  }
}

function does(args: readonly string[], says: string, next: Answers): Taken<Answers> {
  return { args, says, next }
}

/** Answers stand as `alice 200` in what a step says. Whether there is anything is an answer, too, and a fault. */
function answered(isWrong: (state: Answers, reader: ReaderName) => boolean) {
  return (before: Answers, { says }: { says: string }) =>
    READERS.some((reader) =>
      says.includes(`${reader} 200`) ||
      says.includes(`${reader} METADATA_ABSENT`) ||
      says.includes(`${reader} SOURCE_DOWN`)
        ? isWrong(before, reader)
        : false,
    )
}

/** Why a caller may not read now; the connection then remembers the policy's verdict. */
function whyNot(
  guards: Guards,
  state: Answers,
  reader: ReaderName,
  still: boolean,
): string | undefined {
  const [running, revocation, policy] = still
    ? [guards.runningStill, guards.revocationStill, guards.policyStill]
    : [guards.running, guards.revocation, guards.policy]
  if (running && state.isStopped) return 'AGENT_STOPPED'
  if (revocation && state.revoked.includes(reader)) return 'TOKEN_REVOKED'
  const judged = guards.verdict ? state.policy : (state.judgedBy[reader] ?? state.policy)
  return policy && judged !== reader ? 'POLICY_DENIED' : undefined
}

/** After the verdict: it is not asked for if the token is refused. */
function judged(
  guards: Guards,
  state: Answers,
  reader: ReaderName,
  why: string | undefined,
): Answers {
  if (why !== undefined && why !== 'POLICY_DENIED') return state
  const by = guards.verdict ? state.policy : (state.judgedBy[reader] ?? state.policy)
  return { ...state, judgedBy: { ...state.judgedBy, [reader]: by } }
}

const OF_CACHED = { secret: '200', absent: 'METADATA_ABSENT' }

function ask(guards: Guards, state: Answers, reader: ReaderName): Taken<Answers> {
  const why = whyNot(guards, state, reader, false)
  const next = judged(guards, state, reader, why)
  if (why !== undefined) return does([reader], `${reader} ${why}`, next)
  if (state.cached !== 'nothing')
    return does([reader], `${reader} ${OF_CACHED[state.cached]}`, next)
  if (state.isHeldBack) return does([reader], `${reader} SOURCE_DOWN`, next)
  return does([reader], 'waits', { ...next, waiting: [...state.waiting, reader] })
}

function sourceSays(guards: Guards, state: Answers, said: Said): Taken<Answers> {
  const answer = said === 'fault' ? 'SOURCE_DOWN' : OF_CACHED[said]
  const told = state.waiting.map((reader) => ({ reader, why: whyNot(guards, state, reader, true) }))
  const landed: Answers = {
    ...state,
    waiting: [],
    cached: said === 'fault' ? state.cached : said,
    isHeldBack: said === 'fault',
  }
  const next = told.reduce((seen, { reader, why }) => judged(guards, seen, reader, why), landed)
  return does([said], told.map(({ reader, why }) => `${reader} ${why ?? answer}`).join(', '), next)
}
