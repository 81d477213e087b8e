import { describe, expect, test } from 'vitest'
import { parseLogs } from '../../src/measurements/logs.ts'
import type { PcrValues } from '../../src/measurements/pcr-quote.ts'
import { replayedPcrs } from '../../src/measurements/pcr-replay.ts'
import {
  digestOf,
  evidenceOfLogs,
  type ImaRecord,
  imaDigest,
  makeCelJson,
  makeImaLog,
  makeSystemdLog,
} from '../harness/logs.ts'

/** Which quoted values logs lead to: each once, and each bank by itself. */

const FILE: ImaRecord = { path: '/bin/sh', content: 'a shell' }
const PHASE = digestOf('sha256', 'a phase')
const PADDED = imaDigest(FILE, 'sha256', 'old')
const extended = (...digests: Buffer[]) =>
  digests.reduce<Buffer>(
    (value, digest) => digestOf('sha256', Buffer.concat([value, digest])),
    Buffer.alloc(32),
  )
const SYSTEMD = makeSystemdLog([{ pcr: 11, text: 'a phase' }])
const IMA = makeImaLog([FILE])

const shownOf = (
  logs: Parameters<typeof evidenceOfLogs>[0],
  ...values: [pcr: number, value: Buffer][]
) => shownOfBanks(logs, new Map([['sha256', new Map(values)]]))
function shownOfBanks(logs: Parameters<typeof evidenceOfLogs>[0], quoted: PcrValues) {
  const replayed = replayedPcrs(parseLogs(evidenceOfLogs(logs), quoted.keys()), quoted)
  return replayed.map(({ bank, pcr, events }) => [bank, pcr, events.map(({ log }) => log)])
}

describe('old kernels filled SHA-1 up in other banks', () => {
  test('a PCR with such events is found beside those that have digests of the bank', () => {
    const logs = { systemd: SYSTEMD, ima: IMA }
    expect(shownOf(logs, [10, extended(PADDED)], [11, extended(PHASE)])).toEqual([
      ['sha256', 11, ['systemd']],
      ['sha256', 10, ['ima']],
    ])
  })

  test('only events of IMA are filled up', () => {
    const logs = { systemd: makeSystemdLog([{ pcr: 10, text: 'a phase' }]), ima: IMA }
    expect(shownOf(logs, [10, extended(PHASE, PADDED)])).toEqual([
      ['sha256', 10, ['systemd', 'ima']],
    ])
  })
})

test('a PCR that two logs tell of, or that nothing was measured into, is found once', () => {
  const cel = makeCelJson([
    {
      pcr: 11,
      digest: PHASE,
      content: { kind: 'pcclient_std', type: 1, data: Buffer.from('a phase') },
    },
  ])
  const logs = { systemd: SYSTEMD, ima: IMA, cel }
  expect(shownOf(logs, [11, extended(PHASE)], [12, Buffer.alloc(32)])).toEqual([
    ['sha256', 11, ['systemd']],
    ['sha256', 12, []],
  ])
})

test('a PCR that is known in one bank is looked for in the other', () => {
  const padded = Buffer.concat([Buffer.alloc(48), imaDigest(FILE, 'sha384', 'old')])
  const content = { kind: 'pcclient_std', type: 1, data: Buffer.from('a phase') } as const
  const cel = makeCelJson([{ pcr: 10, digest: PHASE, content }])
  const quoted = new Map([
    ['sha256', new Map([[10, extended(PHASE)]])] as const,
    ['sha384', new Map([[10, digestOf('sha384', padded)]])] as const,
  ])
  expect(shownOfBanks({ ima: IMA, cel }, quoted)).toEqual([
    ['sha384', 10, ['ima']],
    ['sha256', 10, ['cel']],
  ])
})
