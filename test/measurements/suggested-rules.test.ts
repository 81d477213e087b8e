import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Measurements } from '../../src/measurements/proven-events.ts'
import {
  commandLineRules,
  imageRules,
  isQuoted,
  isUntouched,
  type Known,
  type SuggestedRule,
  secureBootRules,
  valueRule,
} from '../../src/measurements/suggested-rules.ts'
import {
  application,
  GUID,
  grub,
  grubLinux,
  measurementsOf,
  secureBoot,
  separator,
  shimState,
  stub,
  TYPE,
  verifiedBy,
} from '../harness/boot-events.ts'
import { makeAuthority } from '../harness/certificate.ts'
import type { LoggedEvent } from '../harness/event-log.ts'
import {
  booted,
  knownOf,
  unexplained,
  valueIn,
  valuesRule,
  withUntouched,
} from '../harness/known-machines.ts'

/** What is suggested from what was measured, rule by rule; test/verify/suggest-policy.test.ts has it with quotes. */

const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex')
const ZERO = '00'.repeat(32)

const CA = makeAuthority('UEFI CA')
const SHIM_CA = makeAuthority('Shim CA')
const ON = [secureBoot(1), separator(7)]
const GOOD = [...ON, verifiedBy(CA.der)]
const GRUB = [grub('grub_cmd', 'set root=hd0'), ...grubLinux('/vmlinuz ro')]

describe('Secure Boot', () => {
  test('allows what verified images, each once: by certificate, or by entry if it has none', () => {
    const hash = Buffer.alloc(32, 1)
    const [secure, authorities] = secureBootRules(
      booted([...GOOD, verifiedBy(hash)], [...GOOD, verifiedBy(SHIM_CA.der)]),
    )
    expect(secure).toEqual({ rule: 'secure-boot', why: expect.stringContaining('PCR 7') })
    expect(authorities).toEqual({
      rule: 'boot-authorities',
      allowed: [
        { certificate: sha256(CA.der) },
        { contents: sha256(Buffer.concat([Buffer.from(GUID.owner, 'hex'), hash])) },
        { certificate: sha256(SHIM_CA.der) },
      ],
      why: 'They verified what was started: "UEFI CA", "no certificate", "Shim CA". New versions by the same authorities go on being accepted.',
    })
  })

  test('gives no longer reason than a policy may have, whatever the authorities are called', () => {
    const names = Array.from({ length: 13 }, (_, at) => `${at} ${'CA'.repeat(80)}`)
    const many = [...ON, ...names.map((name) => verifiedBy(makeAuthority(name).der))]
    const [, authorities] = secureBootRules(booted(many))
    expect(authorities?.allowed).toHaveLength(13)
    expect(authorities?.why).toHaveLength(2000)
    expect(authorities?.why).toMatch(/^They verified/)
  })

  test.each<[string, readonly LoggedEvent[], string]>([
    ['it is off', [secureBoot(0), separator(7)], 'Secure Boot is off.'],
    [
      'shim was told to verify nothing',
      [...GOOD, shimState('MokSBState', Buffer.of(1))],
      'Shim verifies nothing (MokSBState).',
    ],
    [
      'the firmware was being debugged',
      [{ pcr: 7, type: TYPE.action, data: 'UEFI Debug Mode' }, ...GOOD],
      'The firmware was being debugged.',
    ],
    ['no authority verified anything', ON, 'No authority verified anything.'],
    [
      'an image was forbidden',
      [...GOOD, verifiedBy(SHIM_CA.der, 'dbx')],
      'An image was forbidden, by "dbx".',
    ],
    [
      'events cannot be read',
      [...GOOD, { pcr: 7, data: 'anything' }],
      'Found: event 4 of PCR 7 is nothing that is known.',
    ],
  ])('is known by values alone where on one machine %s', (_, events, because) => {
    const known = booted(GOOD, events)
    expect(secureBootRules(known)).toEqual([valuesRule(known, 7, because)])
  })

  test('is known by its value alone where no log leads to it', () => {
    const known = knownOf(unexplained(GOOD))
    const because = 'Found: no log leads to sha256 PCR 7.'
    expect(secureBootRules(known)).toEqual([valuesRule(known, 7, because)])
  })
})

describe('images', () => {
  test('are allowed by their digests, of all machines, each once', () => {
    const known = booted(
      [application('shim'), application('GRUB')],
      [application('new GRUB'), application('shim')],
    )
    const why = expect.stringContaining('add it before you update')
    const allowed = ['shim', 'GRUB', 'new GRUB'].map(sha256)
    expect(imageRules(known)).toEqual([{ rule: 'digests', pcr: 4, allowed, why }])
  })

  test('are known by the value alone where no log leads to it', () => {
    const known = knownOf(unexplained([application('shim')]))
    const because = 'Found: no log leads to sha256 PCR 4.'
    expect(imageRules(known)).toEqual([valuesRule(known, 4, because)])
  })

  test('none: no rule, as an empty list of digests is no policy', () => {
    expect(imageRules(knownOf(withUntouched(measurementsOf(GOOD), 4)))).toEqual([])
  })
})

test.each<[string, (known: Known) => SuggestedRule[]]>([
  ['Secure Boot', secureBootRules],
  ['images', imageRules],
  ['command lines', commandLineRules],
])('%s: no rule of a PCR that one machine did not quote, or not in this bank', (_, rules) => {
  const all = measurementsOf([...GOOD, application('shim'), ...GRUB, stub('quiet')])
  expect(rules(knownOf(all))).not.toEqual([])
  expect(rules(knownOf(all, measurementsOf([])))).toEqual([])
  expect(rules({ bank: 'sha384', machines: [all] })).toEqual([])
})

test('a fault that is no refusal is not a reason of a rule', () => {
  const broken: Measurements = {
    ...measurementsOf([...GOOD, application('shim'), ...GRUB, stub('quiet')]),
    get replayed(): never {
      throw new RangeError('broken')
    },
  }
  for (const rules of [secureBootRules, imageRules, commandLineRules]) {
    expect(() => rules(knownOf(broken))).toThrow(RangeError)
  }
})

describe('a PCR', () => {
  const [one, other] = [measurementsOf(GRUB), measurementsOf(grubLinux('/vmlinuz'))]

  test('has a value of each machine, once', () => {
    expect(valueRule(knownOf(one, other, one), 8, 'Because.')).toMatchObject({
      allowed: [valueIn(one, 8), valueIn(other, 8)],
      why: expect.stringMatching(/^Because\. So only its value/),
    })
  })

  test('that a machine did not quote has no digest, and so a value that no policy takes', () => {
    expect(valueRule(knownOf(one), 9, '').allowed).toEqual([''])
    expect(valueRule({ bank: 'sha384', machines: [one] }, 8, '').allowed).toEqual([''])
  })

  test('is untouched if no byte of it is set on any machine', () => {
    const zero = withUntouched(measurementsOf([]), 8)
    expect(valueRule(knownOf(zero), 8, '').allowed).toEqual([ZERO])
    expect(
      [knownOf(zero), knownOf(zero, one), knownOf(one)].map((known) => isUntouched(known, 8)),
    ).toEqual([true, false, false])
    expect(isUntouched({ bank: 'sha384', machines: [one] }, 8)).toBe(true)
    const barely = new Map([['sha256' as const, new Map([[8, Buffer.from('0001', 'hex')]])]])
    expect(isUntouched(knownOf({ ...one, quoted: barely }), 8)).toBe(false)
  })

  test('is quoted if all machines quote it', () => {
    const both = knownOf(one, measurementsOf(GOOD))
    expect([isQuoted(knownOf(one, other), 8), isQuoted(both, 8), isQuoted(both, 7)]).toEqual([
      true,
      false,
      false,
    ])
  })
})
