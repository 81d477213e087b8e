import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { heldSource } from '../harness/held-source.ts'
import { type AnswerParts, answerParts, policyFor } from '../model/answer-parts.ts'
import { callerOf } from '../model/token-parts.ts'

/** Answers that had to be waited for, and what has changed by the time that they are there. */

const caller = callerOf(61_010, 'app.service')
const NOBODY = await policyFor([])
const CALLER = await policyFor([caller.uid])

type Change = (parts: AnswerParts, token: string) => void
const CHANGES: readonly (readonly [what: string, code: string, change: Change])[] = [
  [
    'another policy refuses it',
    'POLICY_DENIED',
    ({ state }) => {
      state.policy = NOBODY
    },
  ],
  [
    'the token has ended',
    'TOKEN_EXPIRED',
    ({ state }) => {
      state.ms += 600_000
    },
  ],
  ['the token is revoked', 'TOKEN_REVOKED', ({ revoke }, token) => revoke(token)],
  [
    'the agent has stopped',
    'AGENT_STOPPED',
    ({ state }) => {
      state.isStopped = true
    },
  ],
]

const PATHS = [
  ['what is there', '/latest/meta-data/hostname', 200],
  ['that there is nothing', '/latest/meta-data/none', 404],
  ['what the source fails with', '/latest/meta-data/ram/security-credentials/app', 500],
] as const

test.each(CHANGES.flatMap((row) => PATHS.map((path) => [...path, ...row] as const)))(
  '%s (%s, %i) is not told if %s by then',
  async (_, path, status, __, code, change) => {
    await using source = await heldSource()
    await using parts = answerParts(source, CALLER)
    const token = parts.token(caller)
    const answer = parts.ask(caller, path, token)
    await source.untilAsked(1)
    change(parts, token)
    source.held[0]?.answer(status)
    await expect(answer).rejects.toMatchObject({ code })
  },
)

test.each(CHANGES)('no identity token is given if %s by then', async (_, code, change) => {
  await using source = await heldSource()
  const signing = Promise.withResolvers<Buffer>()
  await using parts = answerParts(source, CALLER, () => signing.promise)
  const token = parts.token(caller)
  const answer = parts.ask(caller, '/metabind/v1/identity?audience=somebody', token)
  change(parts, token)
  signing.resolve(Buffer.from('a.b.c'))
  await expect(answer).rejects.toMatchObject({ code })
  expect(parts.events).not.toContain('identity.issued')
})

test.each(CHANGES)('no proof is given if %s by then', async (_, refused, change) => {
  const code = refused === 'POLICY_DENIED' ? 'PROOF_DENIED' : refused
  await using source = await heldSource()
  const signing = Promise.withResolvers<Buffer>()
  await using parts = answerParts(source, CALLER, () => signing.promise)
  const token = parts.token(caller)
  const body = '{"kind":"dpop","method":"GET","url":"https://service.example/"}'
  const answer = parts.post(caller, '/metabind/v1/proof', token, body)
  change(parts, token)
  signing.resolve(Buffer.from('a.b.c'))
  await expect(answer).rejects.toMatchObject({ code })
  expect(parts.events).not.toContain('proof.signed')
})

test('nor is anybody told whether there is something where they may not read any more', async () => {
  await using source = await heldSource()
  await using parts = answerParts(source, CALLER)
  const answer = parts.ask(caller, '/metabind/v1/explain/latest/user-data', parts.token(caller))
  await source.untilAsked(1)
  parts.state.policy = NOBODY
  source.held[0]?.answer(200, 'a secret')
  const said = JSON.parse(String((await answer).body))
  expect(said).toMatchObject({ allowed: false })
  expect(said).not.toHaveProperty('known')
})

test('a secret that was not given is not on record as read', async () => {
  await using source = await heldSource()
  await using parts = answerParts(source, CALLER)
  const answer = parts.ask(caller, '/latest/user-data', parts.token(caller))
  await source.untilAsked(1)
  parts.state.policy = NOBODY
  source.held[0]?.answer(200, 'a secret')
  await expect(answer).rejects.toMatchObject({ code: 'POLICY_DENIED' })
  await setImmediate()
  expect(parts.events).toEqual(['policy.refused'])
})
