import { describe, expect, test } from 'vitest'
import { provenEvents } from '../../src/measurements/proven-events.ts'
import { readSecureBoot } from '../../src/measurements/secure-boot.ts'
import {
  config,
  GUID,
  measurementsOf,
  secureBoot,
  separator,
  shimState,
  TYPE,
  variable,
  verifiedBy,
} from '../harness/boot-events.ts'
import type { LoggedEvent } from '../harness/event-log.ts'
import { detailOf } from '../harness/verify-case.ts'

/** PCR 7 as firmware and shim measure it (TCG PC Client Platform Firmware Profile 1.05, 3.3.4.8), and as no firmware does. */

const read = (...events: readonly LoggedEvent[]) =>
  readSecureBoot(provenEvents(measurementsOf(events), 'sha256', 7), 'sha256')

const HASH = Buffer.alloc(32, 1)
const ENTRY = Buffer.concat([Buffer.from(GUID.owner, 'hex'), HASH])
const BOOT = [secureBoot(1), separator(7)]
const action = (data: string): LoggedEvent => ({ pcr: 7, type: TYPE.action, data })

test('is read: what is configured, and what verified images, by its place in the log', () => {
  const [db, dbx] = [Buffer.from('db'), Buffer.from('dbx')]
  expect(read(secureBoot(1), config('db', db), config('dbx', dbx), separator(7))).toEqual({
    isOn: true,
    isShimOff: false,
    isDebugged: false,
    databases: new Map(Object.entries({ db, dbx })),
    authorities: [],
  })
  expect(read(...BOOT, verifiedBy(HASH))).toMatchObject({
    databases: new Map(),
    authorities: [{ event: 3, database: 'db', contents: ENTRY }],
  })
})

test('of two entries of db before the separator the first is the database: a driver was verified by the other', () => {
  const db = Buffer.from('db')
  const found = read(secureBoot(1), config('db', db), verifiedBy(HASH), separator(7))
  expect(found.databases).toEqual(new Map([['db', db]]))
  expect(found.authorities).toEqual([])
})

describe('the separator', () => {
  test.each(['00000000', 'ffffffff'])('is of the bytes %s', (value) => {
    expect(read(secureBoot(1), separator(7, value)).isOn).toBe(true)
  })

  test('of both values is a second one', () => {
    expect(detailOf(() => read(...BOOT, separator(7, 'ffffffff')))).toBe(
      'VERIFY_PCR_POLICY Found: event 3 is a second separator of PCR 7.',
    )
  })

  test.each(['01000000', '00', '0000000000'])('is not of the bytes %s', (value) => {
    expect(detailOf(() => read(secureBoot(1), separator(7, value)))).toBe(
      'VERIFY_PCR_POLICY Found: PCR 7 has no separator: firmware measured nothing in it.',
    )
  })
})

describe('actions of firmware', () => {
  test.each(['', '\0'])('are known without the NUL that ends a string, and with it: %j', (end) => {
    const debugged = read(action(`UEFI Debug Mode${end}`), ...BOOT)
    expect(debugged).toMatchObject({ isOn: true, isDebugged: true, authorities: [] })
    const open = read(action(`DMA Protection Disabled${end}`), ...BOOT)
    expect(open).toMatchObject({ isOn: true, isDebugged: false, authorities: [] })
  })

  test('are none of the authorities behind the separator, and tell of a debugger there, too', () => {
    const found = read(...BOOT, action('DMA Protection Disabled'), action('UEFI Debug Mode'))
    expect(found).toMatchObject({ isDebugged: true, authorities: [] })
  })

  test.each([
    '',
    'UEFI Debug',
    'xUEFI Debug Mode',
    'UEFI Debug Mode\0\0',
    'UEFI \0Debug Mode',
    'uefi debug mode',
  ])('of no other words are known: %j', (words) => {
    expect(detailOf(() => read(...BOOT, action(words)))).toBe(
      'VERIFY_PCR_POLICY Found: event 3 of PCR 7 is nothing that is known.',
    )
  })
})

describe('of shim', () => {
  test.each(['MokSBState', 'MokListTrusted', 'SbatLevel', 'SBAT'])(
    '%s is no authority, if it is shim that has it',
    (name) => {
      const contents = Buffer.of(0)
      expect(read(...BOOT, shimState(name, contents)).authorities).toEqual([])
      // Whoever measures it under another GUID: a policy knows no such authority, and refuses it.
      const other = { ...shimState(name, contents), data: variable(GUID.owner, name, contents) }
      expect(read(...BOOT, other).authorities).toEqual([{ event: 3, database: name, contents }])
    },
  )

  test('MokSBState with any byte set says that nothing is verified', () => {
    const isShimOff = (name: string, ...bytes: readonly number[]) =>
      read(...BOOT, shimState(name, Buffer.from(bytes))).isShimOff
    expect([isShimOff('MokSBState', 1), isShimOff('MokSBState', 0, 1)]).toEqual([true, true])
    expect([isShimOff('MokSBState', 0), isShimOff('MokSBState')]).toEqual([false, false])
    expect(isShimOff('MokListTrusted', 1)).toBe(false)
  })

  test('MokSBState of another GUID is not its state', () => {
    const data = variable(GUID.owner, 'MokSBState', Buffer.of(1))
    expect(read(...BOOT, { ...shimState('', Buffer.of()), data }).isShimOff).toBe(false)
  })
})

test.each(['SecureBoot', 'PK', 'KEK', 'dbx'])('%s is configured once', (name) => {
  const one = config(name, Buffer.of(1))
  expect(detailOf(() => read(one, one, separator(7)))).toBe(
    `VERIFY_PCR_POLICY Found: event 2 is a second ${name} in PCR 7.`,
  )
})

test('a database of another GUID is none: whoever may set variables can give them names', () => {
  const all = ['PK', 'KEK', 'db', 'dbx'].map((name) => ({
    ...config(name, ENTRY),
    data: variable(GUID.shim, name, ENTRY),
  }))
  expect(read(...all, ...BOOT).databases).toEqual(new Map())
})

test('there are 64 authorities at most', () => {
  const many = Array.from({ length: 64 }, () => verifiedBy(HASH))
  expect(read(...BOOT, ...many).authorities).toHaveLength(64)
  expect(detailOf(() => read(...BOOT, ...many, verifiedBy(HASH)))).toBe(
    'VERIFY_PCR_POLICY Found: 65 authorities in PCR 7.',
  )
})
