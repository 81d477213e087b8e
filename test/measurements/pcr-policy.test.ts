import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import { type PcrPolicy, parsePcrPolicy } from '../../src/measurements/pcr-policy.ts'
import { requireRules } from '../../src/measurements/policy-rules.ts'
import { newRsaKey, spkiOf } from '../harness/certificate.ts'

/** A policy file: what each member may be, up to its bounds and beyond, and what a file says that says nothing. */

const FORMAT = 'metabind pcr policy'
const hex = (bytes: number, digit = 'a') => digit.repeat(2 * bytes)
const many = <T>(count: number, of: (at: number) => T): T[] =>
  Array.from({ length: count }, (_, at) => of(at))

const parse = (json: unknown): PcrPolicy => parsePcrPolicy(Buffer.from(JSON.stringify(json)))
/** What a file is refused with: the sentence that names the place. */
function refusal(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    if (error instanceof MetabindError && error.code.startsWith('VERIFY_PCR_POLICY'))
      return error.detail?.replace(/^Found: (.*)\.$/s, '$1')
    throw error
  }
  return undefined
}

const ofValues = (members: object) => ({ format: FORMAT, version: 1, ...members })
const ofRules = (rule: object, members: object = {}) => ({
  ...{ format: FORMAT, version: 2, bank: 'sha256' },
  ...members,
  rules: [rule],
})

describe('values of PCRs', () => {
  const pcrs = { sha256: { '0': hex(32), '31': [hex(32), hex(32, 'b')] }, sha384: { '7': hex(48) } }

  test('become a rule each, of the banks that are named', () => {
    const { rules, banks, replayed } = parse(ofValues({ pcrs, replayed: [0, 31] }))
    expect(rules).toEqual([
      { rule: 'values', bank: 'sha256', pcr: 0, allowed: [hex(32)] },
      { rule: 'values', bank: 'sha256', pcr: 31, allowed: [hex(32), hex(32, 'b')] },
      { rule: 'values', bank: 'sha384', pcr: 7, allowed: [hex(48)] },
    ])
    expect([...banks]).toEqual(['sha256', 'sha384'])
    expect(replayed).toEqual([0, 31])
  })

  test.each<[string, object]>([
    ['no bank', { pcrs: {} }],
    ['a bank of no PCR', { pcrs: { sha256: {} } }],
    ['PCR 32', { pcrs: { sha256: { '0': hex(32), '32': hex(32) } } }],
    ['a PCR with a zero before it', { pcrs: { sha256: { '07': hex(32) } } }],
    ['a PCR with something after it', { pcrs: { sha256: { '7 ': hex(32) } } }],
    ['a bank of SHA-1', { pcrs: { sha256: { '0': hex(32) }, sha1: { '0': hex(20) } } }],
    ['no value', { pcrs: { sha256: { '0': [] } } }],
    ['a value of another bank', { pcrs: { sha256: { '0': hex(48) } } }],
    ['a value in capitals', { pcrs: { sha256: { '0': hex(32, 'A') } } }],
    ['a value with more before it', { pcrs: { sha256: { '0': `0${hex(32)}` } } }],
    ['257 values', { pcrs: { sha256: { '0': many(257, () => hex(32)) } } }],
    ['a PCR to replay that is none', { pcrs, replayed: [32] }],
    ['33 PCRs to replay', { pcrs, replayed: many(33, () => 0) }],
    ['another format', { pcrs, format: 'metabind' }],
    ['a member that is not known', { pcrs, more: true }],
  ])('are refused: %s', (_, members) => {
    expect(refusal(() => parse(ofValues(members)))).toBeTypeOf('string')
  })

  test('may be 256, and 32 to replay', () => {
    const most = {
      pcrs: { sha512: { '0': many(256, () => hex(64)) } },
      replayed: many(32, (at) => at),
    }
    expect(refusal(() => parse(ofValues(most)))).toBeUndefined()
  })
})

const ED25519_PEM = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' })
const PEM = `-----BEGIN PUBLIC KEY-----\n${spkiOf(newRsaKey()).toString('base64')}\n-----END PUBLIC KEY-----\n`
const words = (count: number) => many(count, (at) => `word${at}`)

/** Per rule: the least that it is, and members that it takes up to their bounds. */
const TAKEN: readonly (readonly [string, object])[] = [
  ['values', { rule: 'values', pcr: 31, allowed: many(256, () => hex(32)) }],
  ['digests', { rule: 'digests', pcr: 0, allowed: [hex(32)], why: 'w'.repeat(2000) }],
  ['secure-boot', { rule: 'secure-boot' }],
  [
    'a database by its digest',
    { rule: 'signature-database', database: 'PK', allowed: many(256, () => hex(32)) },
  ],
  [
    'a database by what is in it',
    { rule: 'signature-database', database: 'dbx', contains: many(2048, () => hex(32)) },
  ],
  ['authorities by certificate', { rule: 'boot-authorities', allowed: [{ certificate: hex(32) }] }],
  [
    'authorities by name',
    { rule: 'boot-authorities', allowed: [{ commonName: 'n'.repeat(256) }, { contents: hex(32) }] },
  ],
  ['words that may be', { rule: 'kernel-command-line', from: 'grub', allowed: words(256) }],
  [
    'words that must be',
    {
      rule: 'kernel-command-line',
      from: 'systemd',
      required: ['w'.repeat(256)],
      others: [hex(32)],
    },
  ],
  ['words that must not be', { rule: 'kernel-command-line', from: 'grub', forbidden: ['!~'] }],
  [
    'signed PCRs',
    { rule: 'signed-pcrs', pcrs: many(24, (at) => at), publicKey: PEM, ref: 'r'.repeat(256) },
  ],
]
test.each(TAKEN)('a rule is taken: %s', (_, rule) => {
  expect(parse(ofRules(rule)).rules).toHaveLength(1)
})

test('at most 64 rules, with a revision and a time each', () => {
  const members = {
    revision: 0xffff_ffff,
    notBefore: '2026-01-01T00:00:00Z',
    notAfter: '2027-01-01T00:00:00Z',
  }
  const most = { ...ofRules({}, members), rules: many(64, () => ({ rule: 'secure-boot' })) }
  expect(parse(most)).toMatchObject({
    revision: 0xffff_ffff,
    notBeforeMs: Date.parse('2026-01-01'),
    notAfterMs: Date.parse('2027-01-01'),
  })
  expect(parse(ofRules({ rule: 'secure-boot' }))).toMatchObject({
    revision: 0,
    notBeforeMs: undefined,
    notAfterMs: undefined,
  })
  expect(
    refusal(() => parse({ ...most, rules: [...most.rules, { rule: 'secure-boot' }] })),
  ).toMatch(/rules/)
  expect(refusal(() => parse({ ...most, rules: [] }))).toMatch(/rules/)
})

/** And what it does not take, with the place that is named. */
test.each<[string, object, RegExp, object?]>([
  [
    'values of another bank',
    { rule: 'values', pcr: 0, allowed: [hex(32), hex(48)] },
    /^rules\.0\.allowed: not of sha256/,
  ],
  ['values of no bank', { rule: 'values', pcr: 0, allowed: [hex(31)] }, /rules/],
  [
    'digests of another bank',
    { rule: 'digests', pcr: 0, allowed: [hex(32)] },
    /^rules\.0\.allowed: not of sha384/,
    { bank: 'sha384' },
  ],
  ['no digest', { rule: 'digests', pcr: 0, allowed: [] }, /rules/],
  ['half a PCR', { rule: 'values', pcr: 0.5, allowed: [hex(32)] }, /rules/],
  ['a reason that is too long', { rule: 'secure-boot', why: 'w'.repeat(2001) }, /rules/],
  [
    'a database of nothing',
    { rule: 'signature-database', database: 'db' },
    /^rules\.0: neither allowed nor contains/,
  ],
  [
    'another database',
    { rule: 'signature-database', database: 'dbt', allowed: [hex(32)] },
    /rules/,
  ],
  [
    '2,049 hashes',
    { rule: 'signature-database', database: 'db', contains: many(2049, () => hex(32)) },
    /rules/,
  ],
  [
    'an authority of two kinds',
    { rule: 'boot-authorities', allowed: [{ certificate: hex(32), contents: hex(32) }] },
    /rules/,
  ],
  ['no authority', { rule: 'boot-authorities', allowed: [] }, /rules/],
  ['no words', { rule: 'kernel-command-line', from: 'grub' }, /^rules\.0: no words/],
  [
    'others of another bank',
    { rule: 'kernel-command-line', from: 'systemd', allowed: ['a'], others: [hex(48)] },
    /^rules\.0\.others: not of sha256/,
  ],
  ['a word with a blank', { rule: 'kernel-command-line', from: 'grub', allowed: ['a b'] }, /rules/],
  [
    'a word of 257',
    { rule: 'kernel-command-line', from: 'grub', allowed: ['w'.repeat(257)] },
    /rules/,
  ],
  [
    'a key that is none',
    { rule: 'signed-pcrs', pcrs: [11], publicKey: 'no key' },
    /^rules\.0\.publicKey: no key of RSA or ECDSA that may sign/,
  ],
  [
    'a key that signs no digest, with which nobody signs PCRs',
    { rule: 'signed-pcrs', pcrs: [11], publicKey: ED25519_PEM },
    /^rules\.0\.publicKey: no key of RSA or ECDSA that may sign/,
  ],
  [
    'a digest with something else before it',
    { rule: 'values', pcr: 7, allowed: [`${'x'.repeat(32)}${hex(32)}`] },
    /^rules\.0\.allowed/,
    { bank: 'sha384' },
  ],
  [
    'a digest with something else behind it',
    { rule: 'values', pcr: 7, allowed: [`${hex(32)}${'x'.repeat(32)}`] },
    /^rules\.0\.allowed/,
    { bank: 'sha384' },
  ],
  ['PCR 24, signed', { rule: 'signed-pcrs', pcrs: [24], publicKey: PEM }, /rules/],
  ['a rule that is not known', { rule: 'anything' }, /rules/],
  ['revision 0', { rule: 'secure-boot' }, /revision/, { revision: 0 }],
  ['revision 2^32', { rule: 'secure-boot' }, /revision/, { revision: 2 ** 32 }],
  ['a day in place of a time', { rule: 'secure-boot' }, /notBefore/, { notBefore: '2026-01-01' }],
  ['a bank of SHA-1', { rule: 'secure-boot' }, /bank/, { bank: 'sha1' }],
  ['version 3', { rule: 'secure-boot' }, /version/, { version: 3 }],
])('a rule is refused: %s', (_, rule, place, members) => {
  expect(refusal(() => parse(ofRules(rule, members)))).toMatch(place)
})

test('a file is at most 256 KiB, and JSON', () => {
  const text = JSON.stringify(ofRules({ rule: 'secure-boot' }))
  const longest = Buffer.from(text.padEnd(256 * 1024))
  expect(parsePcrPolicy(longest).rules).toHaveLength(1)
  expect(refusal(() => parsePcrPolicy(Buffer.concat([longest, Buffer.from(' ')])))).toBe(
    'Longer than 262144 bytes.',
  )
  expect(
    refusal(() => parsePcrPolicy(Buffer.from(text.replace('{', '{"bank":"sha256",')))),
  ).toMatch(/bank|twice|once/)
  expect(refusal(() => parsePcrPolicy(Buffer.from('[')))).toBeTypeOf('string')
})

describe('what a rule of values says', () => {
  const quoted = new Map([['sha256', new Map([[7, Buffer.alloc(32, 1)]])]]) as never
  const measured = { quoted, replayed: new Map() as never, signatures: [] }
  const asked = (pcr: number, allowed: readonly string[], bank = 'sha256') =>
    refusal(() =>
      requireRules(parse({ ...ofRules({ rule: 'values', pcr, allowed }), bank }), measured),
    )

  test('what was expected: four of it at most', () => {
    const digests = (count: number) => many(count, (at) => hex(32, String(at)))
    const found = `sha256 PCR 7 is ${'01'.repeat(32)}; expected: `
    expect(asked(7, digests(4))).toBe(found + digests(4).join(', '))
    expect(asked(7, digests(6))).toBe(`${found}${digests(4).join(', ')} or 2 more`)
    expect(asked(7, ['01'.repeat(32)])).toBeUndefined()
  })

  test('that a PCR is not quoted, or its bank is not', () => {
    expect(asked(8, [hex(32)])).toBe('sha256 PCR 8 is not quoted')
    expect(asked(7, [hex(48)], 'sha384')).toBe('sha384 PCR 7 is not quoted')
  })

  test('that the bank of signed PCRs is not quoted', () => {
    const rule = { rule: 'signed-pcrs', pcrs: [7], publicKey: PEM }
    const signed = (bank: string) =>
      refusal(() => requireRules(parse({ ...ofRules(rule), bank }), measured))
    expect(signed('sha512')).toBe('sha512 PCR 7 is not quoted')
    expect(signed('sha256')).toBe('no signatures of sha256 PCR 7 were given (--pcr-signatures)')
    const both = parse(ofRules({ ...rule, pcrs: [7, 7] }))
    expect(refusal(() => requireRules(both, measured))).toContain('of sha256 PCR 7, 7 were given')
  })

  test('that nothing was measured, though a log leads to the value', () => {
    const replayed = [{ bank: 'sha256', pcr: 7, events: [] }] as never
    const policy = parse(ofRules({ rule: 'digests', pcr: 7, allowed: [hex(32)] }))
    const said = refusal(() => requireRules(policy, { ...measured, replayed }))
    expect(said).toBe('nothing was measured into PCR 7')
  })
})
