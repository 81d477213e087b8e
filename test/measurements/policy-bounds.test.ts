import { describe, expect, test } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import { parsePcrPolicy } from '../../src/measurements/pcr-policy.ts'
import { newKey, spkiOf } from '../harness/certificate.ts'

/** The most and the least of each member of a PCR policy, and one beyond. */

const hex = (bytes: number, digit = '0') => digit.repeat(2 * bytes)
const many = <T>(count: number, of: (at: number) => T) =>
  Array.from({ length: count }, (_, at) => of(at))
const PEM = `-----BEGIN PUBLIC KEY-----\n${spkiOf(newKey()).toString('base64')}\n-----END PUBLIC KEY-----\n`

function isTaken(policy: object): boolean {
  try {
    parsePcrPolicy(Buffer.from(JSON.stringify({ format: 'metabind pcr policy', ...policy })))
    return true
  } catch (error) {
    if (error instanceof MetabindError && error.code === 'VERIFY_PCR_POLICY_FILE') return false
    throw error
  }
}

const ofRule = (rule: object, members: object = {}) => ({
  version: 2,
  bank: 'sha256',
  ...members,
  rules: [rule],
})

/** A rule, and one member of it: what it may be, and what not. */
const MEMBERS: readonly (readonly [object, string, readonly unknown[], readonly unknown[]])[] = [
  ...(['values', 'digests'] as const).flatMap((rule) => [
    [
      { rule, pcr: 0 },
      'allowed',
      [[hex(32)], many(256, () => hex(32))],
      [
        [],
        many(257, () => hex(32)),
        [`0${hex(32)}`],
        [`${hex(32)}0`],
        [hex(31)],
        [hex(32, 'g')],
        [hex(32, 'A')],
        hex(32),
        undefined,
      ],
    ] as const,
    [{ rule, allowed: [hex(32)] }, 'pcr', [0, 31], [-1, 32, 0.5, '0', undefined]] as const,
    [
      { rule, pcr: 0, allowed: [hex(32)] },
      'why',
      ['', 'w'.repeat(2000)],
      ['w'.repeat(2001)],
    ] as const,
    [{ rule, pcr: 0, allowed: [hex(32)] }, 'more', [], [1]] as const,
  ]),
  [{ rule: 'secure-boot' }, 'why', ['', 'w'.repeat(2000)], ['w'.repeat(2001), 1]],
  [{ rule: 'secure-boot' }, 'more', [], [1]],
  [
    { rule: 'signature-database', allowed: [hex(32)] },
    'database',
    ['PK', 'KEK', 'db', 'dbx'],
    ['', 'pk', undefined],
  ],
  ...['allowed', 'contains'].map(
    (name) =>
      [
        { rule: 'signature-database', database: 'db', why: 'why' },
        name,
        [[hex(32)], many(256, () => hex(32))],
        [[], [hex(31)], [hex(33)], [`g${hex(32)}`], [`${hex(32)}g`], [hex(32, 'A')], undefined],
      ] as const,
  ),
  [{ rule: 'signature-database', database: 'db' }, 'allowed', [], [many(257, () => hex(32))]],
  [
    { rule: 'signature-database', database: 'db' },
    'contains',
    [many(2048, () => hex(32))],
    [many(2049, () => hex(32))],
  ],
  [{ rule: 'signature-database', database: 'db', contains: [hex(32)] }, 'more', [], [1]],
  [
    { rule: 'boot-authorities', why: 'why' },
    'allowed',
    [
      [{ certificate: hex(32) }],
      [{ contents: hex(32) }],
      [{ commonName: 'n' }],
      [{ commonName: 'n'.repeat(256) }],
      many(256, () => ({ commonName: 'n' })),
    ],
    [
      [],
      [{}],
      [{ certificate: hex(31) }],
      [{ contents: hex(31) }],
      [{ commonName: '' }],
      [{ commonName: 'n'.repeat(257) }],
      [{ commonName: 'n', more: 1 }],
      [{ contents: hex(32), more: 1 }],
      [{ certificate: hex(32), more: 1 }],
      many(257, () => ({ commonName: 'n' })),
      undefined,
    ],
  ],
  [{ rule: 'boot-authorities', allowed: [{ commonName: 'n' }] }, 'more', [], [1]],
  [
    { rule: 'kernel-command-line', allowed: ['a'] },
    'from',
    ['grub', 'systemd'],
    ['', 'shim', undefined],
  ],
  ...['allowed', 'required', 'forbidden'].map(
    (name) =>
      [
        { rule: 'kernel-command-line', from: 'systemd', why: 'why' },
        name,
        [[], ['!'], ['~'], ['w'.repeat(256)], many(256, () => 'w')],
        [
          [''],
          ['w'.repeat(257)],
          [' a'],
          ['a '],
          ['\u007fa'],
          ['a\u00e9'],
          many(257, () => 'w'),
          'w',
        ],
      ] as const,
  ),
  [
    { rule: 'kernel-command-line', from: 'systemd', allowed: ['a'] },
    'others',
    [[], [hex(32)], many(256, () => hex(32)), undefined],
    [[hex(48)], [hex(31)], many(257, () => hex(32))],
  ],
  [{ rule: 'kernel-command-line', from: 'systemd', allowed: ['a'] }, 'more', [], [1]],
  [
    { rule: 'signed-pcrs', publicKey: PEM },
    'pcrs',
    [[0], [23], many(24, (at) => at)],
    [[], [24], [-1], [0.5], many(25, () => 0), undefined],
  ],
  [
    { rule: 'signed-pcrs', pcrs: [0] },
    'publicKey',
    [PEM, PEM.padEnd(4096)],
    ['', PEM.padEnd(4097), undefined],
  ],
  [
    { rule: 'signed-pcrs', pcrs: [0], publicKey: PEM },
    'ref',
    ['r', 'r'.repeat(256), undefined],
    ['', 'r'.repeat(257), 1],
  ],
  [
    { rule: 'signed-pcrs', pcrs: [0], publicKey: PEM },
    'why',
    ['w'.repeat(2000)],
    ['w'.repeat(2001)],
  ],
  [{ rule: 'signed-pcrs', pcrs: [0], publicKey: PEM }, 'more', [], [1]],
]

test.each(MEMBERS)('%j: %s', (rule, name, taken, not) => {
  const wrong = (values: readonly unknown[], isWanted: boolean) =>
    values.filter((value) => isTaken(ofRule({ ...rule, [name]: value })) !== isWanted)
  expect(wrong(taken, true)).toEqual([])
  expect(wrong(not, false)).toEqual([])
})

describe('the policy around its rules', () => {
  const rule = { rule: 'secure-boot' }
  const withMember = (name: string) => (value: unknown) => isTaken(ofRule(rule, { [name]: value }))

  test.each<[string, readonly unknown[], readonly unknown[]]>([
    ['revision', [1, 0xffff_ffff, undefined], [0, 0x1_0000_0000, 1.5, '1']],
    ['notBefore', ['2026-01-01T00:00:00Z', undefined], ['2026-01-01', '', 1]],
    ['notAfter', ['2026-01-01T00:00:00Z', undefined], ['2026-01-01', '', 1]],
    ['bank', ['sha256', 'sha384', 'sha512'], ['sha1', '', undefined]],
    [
      'replayed',
      [[], [0, 31], many(32, (at) => at), undefined],
      [[32], [-1], [0.5], many(33, () => 0), 0],
    ],
    ['why', ['', 'w'.repeat(2000)], ['w'.repeat(2001)]],
    ['version', [2], [0, 3, '2', undefined]],
    ['format', [], ['', 'metabind']],
    ['more', [], [1]],
  ])('%s', (name, taken, not) => {
    const isGood = withMember(name)
    expect(taken.filter((value) => !isGood(value))).toEqual([])
    expect(not.filter(isGood)).toEqual([])
  })

  test('a bank has digests of its own length', () => {
    const values = (bytes: number) => ({ rule: 'values', pcr: 0, allowed: [hex(bytes)] })
    const taken = [32, 48, 64].flatMap((bytes) =>
      ['sha256', 'sha384', 'sha512'].filter((bank) => isTaken(ofRule(values(bytes), { bank }))),
    )
    expect(taken).toEqual(['sha256', 'sha384', 'sha512'])
  })

  test('the rule and the member that make no sense are named', () => {
    const rules = [rule, { rule: 'values', pcr: 0, allowed: [hex(48)] }]
    const file = JSON.stringify({ ...ofRule(rule), format: 'metabind pcr policy', rules })
    expect(() => parsePcrPolicy(Buffer.from(file))).toThrow('rules.1.allowed: not of sha256.')
  })
})

describe('version 1', () => {
  const ofValues = (pcrs: object, more: object = {}) => isTaken({ version: 1, pcrs, ...more })
  const one = { sha256: { '0': hex(32) } }

  test('each bank has digests of its own length', () => {
    for (const [bank, bytes] of [
      ['sha256', 32],
      ['sha384', 48],
      ['sha512', 64],
    ] as const) {
      expect(ofValues({ [bank]: { '0': hex(bytes), '31': [hex(bytes, 'f')] } })).toBe(true)
      expect(ofValues({ [bank]: { '0': hex(bytes - 1) } })).toBe(false)
      expect(ofValues({ [bank]: { '0': `${hex(bytes)}0` } })).toBe(false)
      expect(ofValues({ [bank]: {} })).toBe(false)
    }
  })

  test.each(['32', '00', '01', '031', '', 'a', '0 ', ' 0', '0x', '100'])('no PCR: %j', (pcr) => {
    expect(ofValues({ sha256: { [pcr]: hex(32) } })).toBe(false)
    expect(ofValues({ sha256: { '0': hex(32), [pcr]: hex(32) } })).toBe(false)
  })

  test('a bank of none beside one of some, members that nobody knows, PCRs to replay', () => {
    expect(ofValues({ ...one, sha384: {} })).toBe(false)
    expect(ofValues({ ...one, sha1: { '0': hex(20) } })).toBe(false)
    expect(ofValues(one, { more: 1 })).toBe(false)
    expect(ofValues(one, { revision: 1 })).toBe(false)
    expect(ofValues(one, { replayed: many(32, (at) => at) })).toBe(true)
    expect(ofValues(one, { replayed: [32] })).toBe(false)
    expect(ofValues(one, { replayed: many(33, () => 0) })).toBe(false)
  })
})
