import { afterAll, beforeAll, expect, test } from 'vitest'
import { type HeldSource, heldSource } from '../harness/held-source.ts'
import { ANSWERS_GUARDS, answers } from './answers.ts'
import { realAnswers } from './answers-replay.ts'
import { explore, inWords, traces } from './machine.ts'
import { replay } from './replay.ts'

const explored = explore(answers())
// A busy machine takes minutes.
const LONG_MS = 600_000

let source: HeldSource
beforeAll(async () => {
  source = await heldSource()
})
afterAll(() => source[Symbol.asyncDispose]())

test('no answer is given that must never be given', () => {
  expect(explored.broken && inWords(explored.broken.trace)).toBeUndefined()
})

test(
  'tokens, gate, cache and source do what the model says, at every transition',
  async () => {
    for (const trace of traces(explored)) await replay(answers(), trace, () => realAnswers(source))
  },
  LONG_MS,
)

/** Each guard, what happens without it, and the shortest way there. */
const WITHOUT: Readonly<
  Record<keyof typeof ANSWERS_GUARDS, readonly [never: string, ...trace: string[]]>
> = {
  verdict: [
    'a caller is answered whom the policy refuses',
    ...['ask alice: waits', 'reload bob: reloaded', 'said secret: alice 200'],
  ],
  policy: [
    'a caller is answered whom the policy refuses',
    ...['ask alice: waits', 'said secret: alice 200', 'ask bob: bob 200'],
  ],
  revocation: [
    'a caller is answered whose token is revoked',
    ...[
      'ask alice: waits',
      'said secret: alice 200',
      'revoke alice: revoked',
      'ask alice: alice 200',
    ],
  ],
  running: [
    'a caller is answered while the agent has stopped',
    ...['ask alice: waits', 'said secret: alice 200', 'stop: stopped', 'ask alice: alice 200'],
  ],
  policyStill: [
    'a caller is answered whom the policy refuses',
    ...['ask alice: waits', 'reload bob: reloaded', 'said secret: alice 200'],
  ],
  revocationStill: [
    'a caller is answered whose token is revoked',
    ...['ask alice: waits', 'revoke alice: revoked', 'said secret: alice 200'],
  ],
  runningStill: [
    'a caller is answered while the agent has stopped',
    ...['ask alice: waits', 'stop: stopped', 'said secret: alice 200'],
  ],
}

test.each(Object.entries(WITHOUT))('without %s it would', (guard, [never, ...trace]) => {
  const { broken } = explore(answers({ ...ANSWERS_GUARDS, [guard]: false }))
  expect(broken?.never).toBe(never)
  expect(inWords(broken?.trace ?? [])).toBe(trace.join('\n'))
})
