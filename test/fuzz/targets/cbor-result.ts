import assert from 'node:assert/strict'
import { type CborTagged, parseStrictCbor } from '../../../src/format/strict-cbor.ts'
import { verifyResult } from '../../../src/verify/index.ts'
import { altered, Choices } from '../choices.ts'
import { genuineResult, RESULT_DEMANDS } from '../genuine-result.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const result = genuineResult('cwt')

export const target: FuzzTarget = {
  execution: 'bytes read as an attestation result in CBOR; what was not signed may not be accepted',
  bytesMax: 2048,
  words: ['application/eat+cwt', 'metabind', 'metabind_proven'],
  seeds: () => [
    asItIs(result),
    asItIs(Buffer.from('d83dd28440a04040', 'hex')),
    ...[1, 4, 60, 200].map((at) => chosen(0, at, 0, 3, 1, 1)),
  ],
  run(input) {
    const choices = new Choices(input)
    const token = choices.byte() === CHOSEN ? altered(result, choices) : choices.rest()
    const { code } = outcome(() => verifyResult(token, RESULT_DEMANDS))
    if (code !== undefined) {
      assert.match(code, /^VERIFY_(RESULT|PROVISIONAL)/)
      return
    }
    assert.deepEqual(signedIn(token), signedIn(result))
  },
}

/** Header and claims. */
function signedIn(token: Uint8Array): unknown[] {
  const outer = parseStrictCbor(token, 61, 18) as CborTagged
  const [header, , payload] = (outer.value as CborTagged).value as unknown[]
  return [header, payload]
}
