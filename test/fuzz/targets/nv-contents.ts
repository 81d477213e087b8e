import assert from 'node:assert/strict'
import { CERTIFICATE_BYTES_MAX, CERTIFICATES_MAX } from '../../../src/format/evidence.ts'
import { certificatesOfNv } from '../../../src/identity/nv-certificate.ts'
import { Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const HEADERS = ['', '1001000010', '10010000101002', '1001000000', '10010000ffff'] as const

export const target: FuzzTarget = {
  execution: 'the bytes of NV indices taken apart into certificates',
  bytesMax: 512,
  turns: 4,
  words: ['\x30\x82\x01', '\x30\x81', '\x10\x01\x00', '\x10\x02', '\xff\xff'],
  seeds: () => [
    asItIs(''),
    asItIs(Buffer.from('3003020101', 'hex')),
    asItIs(Buffer.from('100100000a1002308200040000000000', 'hex')),
    chosen(0, 2, 3, 0, 1, 5, 0, 4),
    chosen(2, 1, 3, 1, 3),
  ],
  run(input) {
    const choices = new Choices(input)
    const bytes = choices.byte() === CHOSEN ? built(choices) : choices.rest()
    const before = Buffer.from(bytes)
    const found = outcome(() => certificatesOfNv(bytes))
    assert.ok(bytes.equals(before), 'its input was changed')
    if (found.value === undefined) {
      assert.equal(found.code, 'VERIFY_CERTIFICATE')
      return
    }
    assert.ok(found.value.length <= CERTIFICATES_MAX)
    for (const der of found.value) {
      assert.ok(der[0] === 0x30 && der.length <= CERTIFICATE_BYTES_MAX)
      // What is found in NV is found in itself, alone; but for what is too short for any certificate.
      if (der.length < 4) continue
      const again = certificatesOfNv(der)
      assert.ok(again.length === 1 && again[0]?.equals(der))
    }
    // They stand one behind the other, behind a header at most, and padding is all that follows.
    const all = Buffer.concat(found.value)
    const at = bytes.indexOf(all)
    assert.ok(at >= 0 && (all.length === 0 || at <= 7))
  },
}

function built(choices: Choices): Buffer {
  const parts = [Buffer.from(choices.pick(HEADERS), 'hex')]
  for (let count = choices.below(10); count > 0; count -= 1) {
    const content = Buffer.alloc(choices.byte() * (choices.below(8) === 7 ? 70 : 1), choices.byte())
    const form = choices.below(4)
    const length = content.length + (choices.below(16) === 15 ? 1 : 0)
    if (form === 0 && length < 0x80) parts.push(Buffer.of(0x30, length))
    else if (form === 1 && length < 0x100) parts.push(Buffer.of(0x30, 0x81, length))
    else parts.push(Buffer.of(0x30, 0x82, (length >> 8) & 0xff, length & 0xff))
    parts.push(content)
  }
  parts.push(Buffer.alloc(choices.byte(), choices.pick([0, 0xff, 0x30])))
  return Buffer.concat(parts)
}
