import type { Caller } from '../../src/caller/caller.ts'
import { MetabindError } from '../../src/errors.ts'
import type { HttpResponse } from '../../src/http/response.ts'
import type { HeldSource } from '../harness/held-source.ts'
import { answerParts, policyFor } from './answer-parts.ts'
import { type AnswersAction, POLICIES, type PolicyName, type ReaderName } from './answers.ts'
import type { Real } from './replay.ts'
import { callerOf } from './token-parts.ts'

const PATH = '/latest/user-data'
const UIDS: Readonly<Record<ReaderName, number>> = { alice: 61_011, bob: 61_012 }
const policies = new Map(
  await Promise.all(
    POLICIES.map(
      async (name) => [name, await policyFor(name === 'nobody' ? [] : [UIDS[name]])] as const,
    ),
  ),
)
const policyNamed = (name: string) => policies.get(name as PolicyName) ?? policyFor([])

/** Takes the steps of `answers.ts` with the relay from a judged request on: tokens, gate, cache, source. */
export async function realAnswers(source: HeldSource): Promise<Real<AnswersAction>> {
  const parts = answerParts(source, await policyNamed('alice'))
  const callers: Record<ReaderName, Caller> = {
    alice: callerOf(UIDS.alice, 'app.service'),
    bob: callerOf(UIDS.bob, 'app.service'),
  }
  const named = (name = '') => name as ReaderName
  const tokens = {
    alice: parts.token(callers.alice, YEAR_SECONDS),
    bob: parts.token(callers.bob, YEAR_SECONDS),
  }
  let waiting: Promise<string>[] = []
  const take: Real<AnswersAction>['take'] = {
    ask: async (name) => {
      const reader = named(name)
      const before = source.asked
      const given = attempt(() => parts.ask(callers[reader], PATH, tokens[reader]))
      if (!(given instanceof Promise)) return `${reader} ${given}`
      // Whether anybody is asked at all shows at once; what the source has got, it has to say.
      if (parts.underWay() === 0) return `${reader} ${await given}`
      if (waiting.length === 0) await source.untilAsked(before + 1)
      waiting.push(given.then((code) => `${reader} ${code}`))
      return 'waits'
    },
    said: async (said = '') => {
      const [status, body] = SAYS[said] ?? [500, '']
      source.held[0]?.answer(status, body)
      const told = await Promise.all(waiting)
      waiting = []
      return told.join(', ')
    },
    reload: async (name = '') => {
      parts.state.policy = await policyNamed(name)
      return 'reloaded'
    },
    revoke: (name) => {
      parts.revoke(tokens[named(name)])
      return 'revoked'
    },
    stop: () => {
      parts.state.isStopped = true
      return 'stopped'
    },
    resume: () => {
      parts.state.isStopped = false
      return 'resumed'
    },
    later: () => {
      parts.state.ms += DAY_MS
      return 'later'
    },
  }
  return {
    take,
    shows: () => `${source.held.length} asked of the source`,
    [Symbol.asyncDispose]: async () => {
      for (const one of source.held) one.answer(500)
      await Promise.all(waiting)
      await parts[Symbol.asyncDispose]()
    },
  }
}

// User data is kept for a day at most.
const DAY_MS = 25 * 3_600_000
// Tokens end by no step here.
const YEAR_SECONDS = 365 * 24 * 3600
const SAYS: Readonly<Record<string, readonly [status: number, body: string]>> = {
  secret: [200, 'a secret'],
  absent: [404, ''],
  fault: [500, ''],
}

/** The status, or the code of a refusal. */
function attempt(ask: () => HttpResponse | Promise<HttpResponse>): string | Promise<string> {
  const codeOf = (error: unknown): string => {
    if (error instanceof MetabindError) return error.code
    throw error
  }
  try {
    const given = ask()
    if (!(given instanceof Promise)) return String(given.status)
    return given.then(({ status }) => String(status), codeOf)
  } catch (error) {
    return codeOf(error)
  }
}
