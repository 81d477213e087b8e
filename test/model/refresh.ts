import type { Model, Taken } from './machine.ts'

/**
 * The reads of one path: by callers, by root who wants it fresh, by the turn that refreshes credentials in time, and
 * what the source makes of them.
 */

/** How an answer ages: `credentials` are refreshed before their end, others are asked for again when somebody reads. */
export type Kind = 'credentials' | 'other'
/** From the moment of the answer on. Credentials have `soon` and `must` before their end. */
export const AGES: Readonly<Record<Kind, readonly Age[]>> = {
  credentials: ['fresh', 'soon', 'must', 'ended'],
  other: ['fresh', 'stale', 'ended'],
}
export type Age = 'fresh' | 'soon' | 'must' | 'stale' | 'ended'

/** What a reader waits for: the answer; or a better one than what is cached, as long as that may be given. */
type Waiting = 'first' | 'newer'

export interface Refresh {
  /** Of what is cached; undefined if nothing is. */
  readonly age: Age | undefined
  /** Requests that the source has and has not answered. */
  readonly underWay: number
  /** The last of them has taken too long for its readers, and for whoever would join. */
  readonly isLate: boolean
  /** Readers of the last request, in the order of asking. */
  readonly waiting: readonly Waiting[]
  /** Failures of late hold the source back. */
  readonly isHeldBack: boolean
}

export type RefreshAction =
  | 'read'
  | 'read-fresh'
  | 'turn'
  | 'answers'
  | 'fails'
  | 'too-late'
  | 'age'
  | 'back-off-ends'

export const REFRESH_GUARDS = {
  /** Whoever reads joins the read that is under way. */
  joinRead: true,
  /** So does who asks for it fresh. */
  joinFresh: true,
  /** And the turn that refreshes in time. */
  joinTurn: true,
  /** A read that takes too long for its readers is under way until it ends. */
  lateIsUnderWay: true,
  ended: true,
}
type Guards = typeof REFRESH_GUARDS

const WAITING_MAX = 2
const UNDER_WAY_MAX = 2

export function refresh(kind: Kind, guards = REFRESH_GUARDS): Model<Refresh, RefreshAction> {
  return {
    initial: { age: undefined, underWay: 0, isLate: false, waiting: [], isHeldBack: false },
    actions: {
      read: (state) => (state.waiting.length < WAITING_MAX ? [read(guards, state)] : []),
      'read-fresh': (state) =>
        state.waiting.length < WAITING_MAX ? [readFresh(guards, state)] : [],
      turn: (state) => (kind === 'credentials' ? [turn(guards, state)] : []),
      answers: (state) => (state.underWay > 0 ? [lands(state, 'answers')] : []),
      fails: (state) => (state.underWay > 0 ? [lands(state, 'fails')] : []),
      'too-late': (state) => (state.underWay > 0 && !state.isLate ? [tooLate(state)] : []),
      age: (state) => ages(kind, state),
      'back-off-ends': (state) =>
        state.isHeldBack && state.age !== 'fresh'
          ? [does('later', { ...state, isHeldBack: false })]
          : [],
    },
    never: {
      'two reads of one path are under way': (_, { next }) => next.underWay > 1,
      'what has ended is given': (before, { says }) =>
        before.age === 'ended' && (says.includes('hit') || says.includes('stale')),
    },
    shows: ({ underWay }) => `${underWay} asked of the source`,
  }
}

function does(says: string, next: Refresh): Taken<Refresh> {
  return { args: [], says, next }
}

/** The read that is under way, for whoever looks for one. */
function joined(
  { underWay, isLate }: Refresh,
  joins: boolean,
  { lateIsUnderWay }: Guards,
): boolean {
  return joins && underWay > 0 && (lateIsUnderWay || !isLate)
}

function launched(state: Refresh): Refresh {
  return { ...state, underWay: Math.min(state.underWay + 1, UNDER_WAY_MAX), isLate: false }
}

function waits(state: Refresh, isJoined: boolean, waiting: Waiting): Taken<Refresh> {
  if (isJoined && state.isLate) return does(waiting === 'newer' ? 'stale' : 'SOURCE_DOWN', state)
  const next = isJoined ? state : launched(state)
  return does('waits', { ...next, waiting: [...next.waiting, waiting] })
}

function read(guards: Guards, state: Refresh): Taken<Refresh> {
  const { age } = state
  const isJoined = joined(state, guards.joinRead, guards)
  const mayAsk = isJoined || !state.isHeldBack
  switch (guards.ended || age !== 'ended' ? age : 'fresh') {
    case 'fresh':
      return does('hit', state)
    case 'soon':
      return does('hit', isJoined || !mayAsk ? state : launched(state))
    case 'must':
    case 'stale':
      return mayAsk ? waits(state, isJoined, 'newer') : does('stale', state)
    default: {
      const without = { ...state, age: undefined }
      return mayAsk ? waits(without, isJoined, 'first') : does('SOURCE_DOWN', without)
    }
  }
}

/** Whatever is cached, and whatever failed of late. */
function readFresh(guards: Guards, state: Refresh): Taken<Refresh> {
  return waits(state, joined(state, guards.joinFresh, guards), 'first')
}

function turn(guards: Guards, state: Refresh): Taken<Refresh> {
  const { age, isHeldBack } = state
  if (age === 'ended') return does('turned', { ...state, age: undefined })
  const isJoined = joined(state, guards.joinTurn, guards)
  const asks = (age === 'soon' || age === 'must') && !isJoined && !isHeldBack
  return does('turned', asks ? launched(state) : state)
}

/** What somebody is told who gets no new answer. */
function without({ age }: Refresh, waiting: Waiting): string {
  return waiting === 'newer' && age !== 'ended' && age !== undefined ? 'stale' : 'SOURCE_DOWN'
}

/** Its failure counts when it comes, or when it is late; not twice. */
function lands(state: Refresh, how: 'answers' | 'fails'): Taken<Refresh> {
  const told = state.waiting.map((waiting) =>
    how === 'answers' ? 'miss' : without(state, waiting),
  )
  return does([how, ...told].join(' '), {
    age: how === 'answers' ? 'fresh' : state.age,
    underWay: state.underWay - 1,
    isLate: false,
    waiting: [],
    isHeldBack: how === 'fails' && (!state.isLate || state.isHeldBack),
  })
}

/** Nobody waits any longer for it; it is on its way all the same. */
function tooLate(state: Refresh): Taken<Refresh> {
  const told = state.waiting.map((waiting) => without(state, waiting))
  return does(['late', ...told].join(' '), {
    ...state,
    isLate: true,
    waiting: [],
    isHeldBack: true,
  })
}

function ages(kind: Kind, state: Refresh): Taken<Refresh>[] {
  const ages = AGES[kind]
  const next = state.age === undefined ? undefined : ages[ages.indexOf(state.age) + 1]
  return next === undefined ? [] : [does('older', { ...state, age: next, isHeldBack: false })]
}
