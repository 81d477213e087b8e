import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hmacSha256 } from '../src/linux.ts'

test('a MAC is the one that node:crypto makes, of any key and data', () => {
  const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength })
  fc.assert(
    fc.property(bytes(1, 200), bytes(0, 2000), (key, data) => {
      const expected = createHmac('sha256', key).update(data).digest('hex')
      expect(hmacSha256(key, data).toString('hex')).toBe(expected)
    }),
    { numRuns: 1000 },
  )
})

test('what was made before stays as it was', () => {
  const key = Buffer.alloc(32, 1)
  const first = hmacSha256(key, Buffer.from('one'))
  const kept = Buffer.from(first)
  hmacSha256(key, Buffer.from('two'))
  expect(first).toEqual(kept)
})

// RFC 4231, 4.3.
test('the MAC of a known text is the known one', () => {
  const mac = hmacSha256(Buffer.from('Jefe'), Buffer.from('what do ya want for nothing?'))
  expect(mac.toString('hex')).toBe(
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  )
})
