import assert from 'node:assert/strict'
import { tpmHash } from '../../../src/format/algorithms.ts'
import { replayEventLog } from '../../../src/format/event-log.ts'
import { Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const ALGORITHMS = [0x000b, 0x0004, 0x000c, 0x000d, 0x0012] as const
const TYPES = [0x0d, 3, 0x8000_0010, 1, 0xffff_ffff] as const
const DATA = [
  '',
  'StartupLocality\0\x03',
  'StartupLocality\0\x04',
  'Spec ID Event03\0',
  'x',
] as const

export const target: FuzzTarget = {
  execution: 'one event log replayed; what was replayed, and the log cut after it, again',
  bytesMax: 1024,
  turns: 2,
  words: ['Spec ID Event03\0', 'StartupLocality\0', '\x03\0\0\0', '\x0b\0\x20\0', '\x04\0\x14\0'],
  seeds: () => [
    asItIs(''),
    asItIs(Buffer.concat([event(0, 8, [], Buffer.from('data'), true)])),
    asItIs(
      Buffer.concat([
        specId([[0x0b, 32]]),
        event(0, 13, [[0x0b, Buffer.alloc(32, 1)]], Buffer.from('x')),
      ]),
    ),
    chosen(0, 1, 2, 0, 0, 0, 0, 0, 7, 0, 4),
    chosen(0, 3, 2, 0, 1, 1, 0, 0, 7, 0, 4),
  ],
  run(input) {
    const choices = new Choices(input)
    const log = choices.byte() === CHOSEN ? builtLog(choices) : choices.rest()
    const replayed = outcome(() => replayEventLog(log))
    if (replayed.code !== undefined) {
      assert.equal(replayed.code, 'VERIFY_EVENT_LOG')
      return
    }
    for (const [name, values] of replayed.value) {
      for (const [pcr, value] of values) {
        assert.ok(pcr >= 0 && pcr <= 31)
        assert.equal(value.length, { sha1: 20, sha256: 32, sha384: 48, sha512: 64 }[name])
      }
    }
    // One extension more changes that PCR and no other.
    const first = [...replayed.value.keys()].at(0)
    if (log.length === 0) {
      assert.equal(first, undefined)
      return
    }
    assert.equal(
      outcome(() => replayEventLog(log.subarray(0, log.length - 1))).value === undefined,
      true,
    )
  },
}

/** TCG_PCR_EVENT2, or TCG_PCClientPCREvent with a digest of zeros. */
function event(
  pcr: number,
  type: number,
  digests: readonly (readonly [number, Buffer])[],
  data: Buffer,
  isSha1 = false,
): Buffer {
  const parts = digests.flatMap(([algorithm, digest]) => [u16(algorithm), digest])
  const listed = isSha1 ? [Buffer.alloc(20)] : [u32(digests.length), ...parts]
  return Buffer.concat([u32(pcr), u32(type), ...listed, u32(data.length), data])
}

function specId(banks: readonly (readonly [number, number])[]): Buffer {
  const sizes = banks.flatMap(([algorithm, size]) => [u16(algorithm), u16(size)])
  const head = [Buffer.from('Spec ID Event03\0'), Buffer.alloc(8), u32(banks.length)]
  return event(0, 3, [], Buffer.concat([...head, ...sizes, Buffer.of(0)]), true)
}

function builtLog(choices: Choices): Buffer {
  const isSha1 = choices.below(8) === 7
  const algorithms = ALGORITHMS.slice(0, 1 + choices.below(ALGORITHMS.length))
  const sizes = algorithms.map((algorithm): [number, number] => {
    const right = tpmHash(algorithm)?.bytes ?? 32
    return [algorithm, choices.below(32) === 31 ? choices.byte() : right]
  })
  const events = isSha1 ? [] : [specId(sizes)]
  while (!choices.isEmpty && events.length < 12) {
    const kind = choices.byte()
    const digests = sizes.map(([algorithm, size]): [number, Buffer] => [
      algorithm,
      Buffer.alloc(size, kind),
    ])
    const pcr = choices.below(kind >= 250 ? 256 : 24)
    const data = Buffer.from(choices.pick(DATA), 'latin1')
    events.push(event(pcr, TYPES[choices.below(16)] ?? 0x0d, digests, data, isSha1))
  }
  return Buffer.concat(events)
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
