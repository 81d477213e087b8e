import assert from 'node:assert/strict'
import { unwrapDocument, wrapDocument } from '../../../src/format/cmw.ts'
import { altered, Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const DOCUMENT = Buffer.from('{"format":"metabind evidence","version":2}')
const WRAPPED = [wrapDocument(DOCUMENT, 'cmw-json'), wrapDocument(DOCUMENT, 'cmw-cbor')]

export const target: FuzzTarget = {
  execution:
    'bytes taken out of a wrapper; of CBOR only the one encoding of what comes out may be accepted',
  bytesMax: 512,
  words: ['application/vnd.metabind.evidence+json', ',4]', '["'],
  seeds: () => [...WRAPPED.map(asItIs), chosen(0, 3, 0, 3, 1, 1), chosen(1, 3, 0, 3, 1, 1)],
  run(input) {
    const choices = new Choices(input)
    const isChosen = choices.byte() === CHOSEN
    const base = isChosen ? WRAPPED[choices.below(2)] : undefined
    const bytes = base === undefined ? choices.rest() : altered(base, choices)
    const { code, value } = outcome(() => unwrapDocument(bytes))
    if (value === undefined) {
      assert.match(code ?? '', /^VERIFY_(WRAPPER|SIZE)$/)
      return
    }
    // With the indicator a byte is more, and what begins with 83.
    if (bytes[0] === 0x82) assert.deepEqual(Buffer.from(bytes), wrapDocument(value, 'cmw-cbor'))
  },
}
