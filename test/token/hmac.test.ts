import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hmacSha256 } from '../../src/token/hmac.ts'

// RFC 4231, 4.2 to 4.5: the test cases whose keys are not longer than a block.
const VECTORS: [key: string, text: string, mac: string][] = [
  [
    '0b'.repeat(20),
    Buffer.from('Hi There').toString('hex'),
    'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
  ],
  [
    Buffer.from('Jefe').toString('hex'),
    Buffer.from('what do ya want for nothing?').toString('hex'),
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  ],
  [
    'aa'.repeat(20),
    'dd'.repeat(50),
    '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe',
  ],
  [
    '0102030405060708090a0b0c0d0e0f10111213141516171819',
    'cd'.repeat(50),
    '82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b',
  ],
]

test.each(VECTORS)('RFC 4231: %s, %s', (key, text, mac) => {
  expect(hmacSha256(Buffer.from(key, 'hex'), Buffer.from(text, 'hex')).toString('hex')).toBe(mac)
})

test('it is the one of node:crypto, for every length, and none is left over for the next', () => {
  const key = fc.uint8Array({ maxLength: 64 })
  const text = fc.uint8Array({ maxLength: 512 })
  fc.assert(
    fc.property(key, text, (ofKey, ofText) => {
      const theirs = createHmac('sha256', ofKey).update(ofText).digest()
      expect(hmacSha256(ofKey, ofText).equals(theirs)).toBe(true)
    }),
    { numRuns: 1000 },
  )
})

test('each has bytes of its own', () => {
  const [one, other] = [1, 2].map((byte) => hmacSha256(Buffer.alloc(32, byte), Buffer.alloc(32)))
  expect(one?.equals(other ?? Buffer.alloc(0))).toBe(false)
})

test('a longer key or text is refused, and not cut', () => {
  expect(() => hmacSha256(Buffer.alloc(65), Buffer.alloc(1))).toThrow(RangeError)
  expect(() => hmacSha256(Buffer.alloc(32), Buffer.alloc(513))).toThrow(RangeError)
})
