import { expect, test } from 'vitest'
import type { PcrEvent } from '../../src/format/pcr-event.ts'
import { provenEvents } from '../../src/measurements/proven-events.ts'
import { measurementsOf } from '../harness/boot-events.ts'
import { digestOf } from '../harness/logs.ts'
import { detailOf } from '../harness/verify-case.ts'

/** The events that a rule of a policy may ask about: those of which digests lead to the quoted value. */

const FIRST = Buffer.from('first')
const SECOND = Buffer.from('second')
const IT = measurementsOf([
  { pcr: 4, data: FIRST },
  { pcr: 5, data: 'of another PCR' },
  { pcr: 4, data: SECOND, type: 13 },
])

test('have their place, their digest and their data, and no type', () => {
  expect(provenEvents(IT, 'sha256', 4)).toEqual([
    { number: 1, digest: digestOf('sha256', FIRST), data: FIRST },
    { number: 2, digest: digestOf('sha256', SECOND), data: SECOND },
  ])
})

const [replayed] = IT.replayed
const bare: PcrEvent = { log: 'cel', pcr: 4, type: 13, digests: new Map(), data: FIRST }

test.each([
  ['a PCR that is not quoted', IT, 'sha256', 6, 'sha256 PCR 6 is not quoted'],
  ['a bank that is not quoted', IT, 'sha384', 4, 'sha384 PCR 4 is not quoted'],
  [
    'a PCR that no log leads to',
    { ...IT, replayed: IT.replayed.filter(({ pcr }) => pcr !== 4) },
    'sha256',
    4,
    'no log leads to sha256 PCR 4',
  ],
  [
    'a bank that no log leads to',
    { ...IT, quoted: new Map([...IT.quoted, ['sha384' as const, new Map([[4, SECOND]])]]) },
    'sha384',
    4,
    'no log leads to sha384 PCR 4',
  ],
  // Whoever makes such a list of events, a rule cannot know what the second one was.
  [
    'an event of which the bank has no digest',
    {
      ...IT,
      replayed: replayed === undefined ? [] : [{ ...replayed, events: [...replayed.events, bare] }],
    },
    'sha256',
    4,
    'event 3 of PCR 4 has no digest of sha256',
  ],
] as const)('are refused of %s', (_, measurements, bank, pcr, why) => {
  expect(detailOf(() => provenEvents(measurements, bank, pcr))).toBe(
    `VERIFY_PCR_POLICY Found: ${why}.`,
  )
})
