import assert from 'node:assert/strict'
import {
  decodeAnswer,
  decodeChallenge,
  decodeKeptSecret,
  encodeAnswer,
  encodeChallenge,
  encodeKeptSecret,
} from '../../../src/format/activation.ts'
import { parsePcrPolicy } from '../../../src/measurements/pcr-policy.ts'
import { finishChallenge } from '../../../src/verify/challenge.ts'
import { altered, Choices } from '../choices.ts'
import { GENUINE_NOW, readGenuine } from '../genuine.ts'
import { type FuzzTarget, outcome } from '../target.ts'

const genuine = readGenuine()
const answer = decodeAnswer(Buffer.from(genuine.answer))
const kept = decodeKeptSecret(Buffer.from(genuine.kept))
const POLICY = `{"format":"metabind pcr policy","version":1,"pcrs":{"sha256":{"0":"${'00'.repeat(32)}"}}}`

/** A kind of file, and how what was read of one is written. */
interface Kind {
  readonly text: string
  readonly code: string
  rewritten(bytes: Buffer): string
}
const KINDS: readonly [Kind, ...Kind[]] = [
  {
    text: genuine.challenge,
    code: 'VERIFY_FORMAT',
    rewritten: (bytes) => encodeChallenge(decodeChallenge(bytes)),
  },
  { text: genuine.answer, code: 'VERIFY_FORMAT', rewritten: rewrittenAnswer },
  {
    text: genuine.kept,
    code: 'VERIFY_FORMAT',
    rewritten: (bytes) => encodeKeptSecret(decodeKeptSecret(bytes)),
  },
  {
    text: POLICY,
    code: 'VERIFY_PCR_POLICY_FILE',
    rewritten: (bytes) => JSON.stringify(shown(parsePcrPolicy(bytes))),
  },
]

export const target: FuzzTarget = {
  execution:
    'one challenge, answer, kept secret or PCR policy read and written; an altered answer is given',
  bytesMax: 1024,
  words: ['"format":', '"version":1', '"secret":"', '"id":"', '"pcrs":{', '"sha256":{', '\\u0022'],
  seeds: () =>
    KINDS.flatMap(({ text }, which) => [
      Buffer.concat([Buffer.of(which, 0), Buffer.from(text)]),
      Buffer.of(which, 1, 0, 0, 0, 0, 0, 40, 2, 1, 1),
    ]),
  run(input) {
    const choices = new Choices(input)
    const { text, code, rewritten } = choices.pick(KINDS)
    const bytes = choices.isTrue() ? altered(Buffer.from(text), choices) : choices.rest()
    const once = outcome(() => rewritten(bytes))
    if (once.value === undefined) assert.ok([code, 'VERIFY_SIZE'].includes(once.code), once.code)
    else if (code === 'VERIFY_FORMAT') assert.equal(rewritten(Buffer.from(once.value)), once.value)
  },
}

/** Only the answer that the TPM gave finishes the challenge. */
function rewrittenAnswer(bytes: Buffer): string {
  const given = decodeAnswer(bytes)
  const finished = outcome(() => finishChallenge(given, kept, GENUINE_NOW))
  const isRight = given.id.equals(answer.id) && given.secret.equals(answer.secret)
  assert.equal(finished.code === undefined, isRight)
  return encodeAnswer(given)
}

function shown(policy: unknown): unknown {
  return policy instanceof Map ? [...policy].map(([name, values]) => [name, shown(values)]) : policy
}
