import { describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { validatePath } from '../../src/certificates/chain.ts'
import {
  type Answer,
  finishChallenge,
  makeChallenge,
  type VerificationRecord,
  verifyEvidence,
  verifyIdentityToken,
} from '../../src/verify/index.ts'
import { parseTrust } from '../../src/verify/trust.ts'
import { bytesOf, genuineCaseOfFile, NOW } from '../harness/verify-case.ts'

/** What is compared is a number: a comparison with one that is none holds for everything, or nothing. */

const it = await genuineCaseOfFile()

function challenged() {
  const { kept } = makeChallenge(bytesOf(it.evidence), it.options)
  const { id, secret } = kept
  const answer: Answer = { format: 'metabind answer', version: 1, id, secret }
  return { kept, answer }
}

describe('a date that is none', () => {
  const now = new Date('today')
  const options = () => ({ ...it.options, now })
  const { sk, audience, instanceId, iid } = {
    sk: { kty: 'EC', crv: 'P-256', x: '', y: '' },
    audience: '',
    instanceId: '',
    iid: '',
  } as const
  const leaf = () => parseCertificate(it.evidence.ek.certificates[0] ?? Buffer.alloc(0))

  test.each<[string, () => unknown]>([
    ['verifyEvidence', () => verifyEvidence(bytesOf(it.evidence), options())],
    ['makeChallenge', () => makeChallenge(bytesOf(it.evidence), options())],
    ['finishChallenge', () => finishChallenge(challenged().answer, challenged().kept, now)],
    ['verifyIdentityToken', () => verifyIdentityToken('', { sk, audience, instanceId, iid, now })],
    ['validatePath', () => validatePath(leaf(), [], parseTrust(it.options.trust).ek, now)],
  ])('%s', (_, run) => {
    expect(run).toThrow(RangeError)
  })
})

describe('numbers of records that the caller kept', () => {
  const good = () => verifyEvidence(bytesOf(it.evidence), it.options).record

  test.each<[string, Partial<VerificationRecord>]>([
    ['a clock that is NaN', { clockMs: Number.NaN }],
    ['a clock beyond 2^53', { clockMs: 2 ** 53 }],
    ['a negative clock', { clockMs: -1 }],
    ['half a millisecond', { clockMs: 0.5 }],
    ['an endless clock', { clockMs: Number.POSITIVE_INFINITY }],
    ['a reset count that is NaN', { resetCount: Number.NaN }],
    ['a reset count beyond 2^32', { resetCount: 2 ** 32 }],
    ['a negative reset count', { resetCount: -1 }],
    ['a restart count that is NaN', { restartCount: Number.NaN }],
    ['a Name in capitals, which would be of another key', { akName: `000B${'FF'.repeat(32)}` }],
  ])('last: %s', (_, wrong) => {
    const last = { ...good(), ...wrong }
    const run = () => verifyEvidence(bytesOf(it.evidence), { ...it.options, last })
    expect(run).toThrow(RangeError)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 0.5])(
    'a challenge that ends at %d',
    (expiresAtMs) => {
      const { kept, answer } = challenged()
      expect(() => finishChallenge(answer, { ...kept, expiresAtMs }, NOW)).toThrow(RangeError)
    },
  )
})
