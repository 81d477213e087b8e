import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { parseCelCbor } from '../../../src/format/cel-cbor.ts'
import { parseCelJson } from '../../../src/format/cel-json.ts'
import { parseImaLog } from '../../../src/format/ima-log.ts'
import type { PcrEvent } from '../../../src/format/pcr-event.ts'
import { parseSystemdLog } from '../../../src/format/systemd-log.ts'
import { replayedPcrs } from '../../../src/measurements/pcr-replay.ts'
import {
  type CelRecord,
  digestOf,
  makeCelCbor,
  makeCelJson,
  makeImaLog,
  makeSystemdLog,
} from '../../harness/logs.ts'
import { Choices } from '../choices.ts'
import { type FuzzTarget, outcome } from '../target.ts'

const READERS = [
  parseSystemdLog,
  (log: Buffer) => parseImaLog(log, ['sha256']),
  parseCelJson,
  parseCelCbor,
] as const
const TEMPLATES = ['ima', 'ima-ng', 'ima-sig', 'ima-buf', 'ima-ngv2'] as const
const BYTES = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 }
const RECORD: CelRecord = {
  pcr: 14,
  digest: digestOf('sha256', 'data'),
  content: { kind: 'pcclient_std', type: 13, data: Buffer.from('data') },
}

export const target: FuzzTarget = {
  execution:
    'one log of systemd, of IMA or in CEL read and replayed; of records made here, JSON and CBOR say the same',
  bytesMax: 1024,
  turns: 2,
  words: [
    '\x1e{"pcr":11,',
    '"nv_index":1',
    '"digests":[',
    '"content_type":"systemd"',
    'ima-ng',
    '\n\0\0\0',
  ],
  // The first byte says who reads the rest; any other has records chosen.
  seeds: () => [
    read(0, makeSystemdLog([{ pcr: 11, text: 'ready' }])),
    read(1, makeImaLog(TEMPLATES.map((template) => ({ path: '/x', content: 'x', template })))),
    read(2, makeCelJson([RECORD])),
    read(3, makeCelCbor([RECORD])),
    Buffer.of(4, 2, 14, 0, 13, 65, 10, 1, 0, 66),
  ],
  run(input) {
    const choices = new Choices(input)
    const reader = READERS[choices.byte()]
    if (reader === undefined) return sameInBoth(choices)
    const log = choices.rest()
    const events = outcome(() => reader(log))
    if (events.value === undefined) {
      assert.equal(events.code, 'VERIFY_EVENT_LOG')
      return
    }
    events.value.forEach(holds)
    replays(events.value)
  },
}

function read(reader: number, log: Buffer): Buffer {
  return Buffer.concat([Buffer.of(reader), log])
}

function holds({ log, digests, data, type }: PcrEvent): void {
  for (const [bank, digest] of digests) assert.equal(digest.length, BYTES[bank])
  const isViolation = digests.get('sha1')?.every((byte) => byte === 0xff)
  if (log !== 'ima' || isViolation) return
  assert.deepEqual(digests.get('sha256'), createHash('sha256').update(data).digest(), `${type}`)
}

/** What a log leads to is replayed from it, and nothing else is. */
function replays(events: readonly PcrEvent[]): void {
  const logs = { firmware: undefined, systemd: events, ima: [], cel: [], leftOut: [] }
  const other = new Map([[11, Buffer.alloc(32, 0xee)]])
  const replayed = outcome(() => replayedPcrs(logs, new Map([['sha256', other]])))
  if (replayed.code === undefined) assert.deepEqual(replayed.value, [])
  else assert.equal(replayed.code, 'VERIFY_EVENT_LOG')
}

function sameInBoth(choices: Choices): void {
  const records: CelRecord[] = []
  while (!choices.isEmpty && records.length < 12) {
    const data = Buffer.of(choices.byte(), choices.byte())
    const where = choices.below(4) === 3 ? { nvIndex: 0x01d1_0200 } : { pcr: choices.below(32) }
    const kinds: readonly [CelRecord['content'], ...CelRecord['content'][]] = [
      { kind: 'pcclient_std', type: choices.below(16), data },
      { kind: 'ima_template', name: 'ima-ng', data },
      { kind: 'cel', type: choices.below(2) === 0 ? 1 : 81 },
    ]
    const isZero = choices.below(4) === 0
    const digest = isZero ? Buffer.alloc(32) : digestOf('sha256', data)
    records.push({ ...where, digest, content: choices.pick(kinds) })
  }
  assert.deepEqual(parseCelJson(makeCelJson(records)), parseCelCbor(makeCelCbor(records)))
}
