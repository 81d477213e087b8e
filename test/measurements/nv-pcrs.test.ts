import { expect, test } from 'vitest'
import type { EventDigests, PcrEvent } from '../../src/format/pcr-event.ts'
import { loggedNvPcrs } from '../../src/measurements/nv-pcrs.ts'
import { type Bank, digestOf } from '../harness/logs.ts'

/** What a log says of NV indices that are extended like PCRs (TPM2_NV_Extend: TPM 2.0 Part 3, 31.9). */

const of = (nvIndex: string | undefined, digests: EventDigests): PcrEvent => ({
  log: 'systemd',
  pcr: nvIndex === undefined ? 11 : undefined,
  nvIndex,
  type: 'phase',
  digests,
  data: Buffer.from('text'),
})
const digest = (bank: Bank, text: string): EventDigests => new Map([[bank, digestOf(bank, text)]])
const extended = (bank: Bank, ...texts: string[]) =>
  texts
    .reduce<Buffer>(
      (value, text) => digestOf(bank, Buffer.concat([value, digestOf(bank, text)])),
      Buffer.alloc(digestOf(bank, '').length),
    )
    .toString('hex')

test('an index holds what its own events extend it by, in their order, from zeros on', () => {
  const events = [
    of('hardware', digest('sha256', 'a')),
    of(undefined, digest('sha256', 'of a PCR')),
    of('login', digest('sha256', 'b')),
    of('hardware', digest('sha256', 'c')),
  ]
  expect(loggedNvPcrs(events)).toEqual([
    { nvIndex: 'hardware', events: 2, value: extended('sha256', 'a', 'c') },
    { nvIndex: 'login', events: 1, value: extended('sha256', 'b') },
  ])
})

test('an index is of one bank: the first that its first event has', () => {
  const both = new Map([...digest('sha384', 'a'), ...digest('sha256', 'a')])
  const events = [of('x', both), of('x', digest('sha256', 'b')), of('x', digest('sha384', 'c'))]
  expect(loggedNvPcrs(events)).toEqual([
    { nvIndex: 'x', events: 3, value: extended('sha384', 'a', 'c') },
  ])
})

test('an index whose events are of no bank that is known still holds zeros, of SHA-256', () => {
  const events = [of('x', new Map())]
  expect(loggedNvPcrs(events)).toEqual([{ nvIndex: 'x', events: 1, value: '00'.repeat(32) }])
})

test('events of PCRs alone are of no index', () => {
  expect(loggedNvPcrs([of(undefined, digest('sha256', 'a'))])).toEqual([])
  expect(loggedNvPcrs([])).toEqual([])
})
