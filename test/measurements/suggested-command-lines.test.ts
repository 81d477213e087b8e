import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { parsePcrPolicy } from '../../src/measurements/pcr-policy.ts'
import { requireRules } from '../../src/measurements/policy-rules.ts'
import type { Measurements } from '../../src/measurements/proven-events.ts'
import { commandLineRules } from '../../src/measurements/suggested-rules.ts'
import {
  grub,
  grubLinux,
  measurementsOf,
  secureBoot,
  separator,
  stub,
} from '../harness/boot-events.ts'
import {
  booted,
  knownOf,
  unexplained,
  valuesRule,
  withUntouched,
} from '../harness/known-machines.ts'

/** Rules of kernel command lines, and the patterns that are suggested for their words. */

const sha256 = (bytes: string) => createHash('sha256').update(bytes).digest('hex')
const FIRMWARE = measurementsOf([secureBoot(1), separator(7)])
const GRUB = [grub('grub_cmd', 'set root=hd0'), ...grubLinux('/vmlinuz ro')]
const CREDENTIALS = { pcr: 12, data: 'Credentials initrd', measured: 'cpio' }

describe("GRUB's command line", () => {
  test('is told by its words, with what root can do in spite of it', () => {
    const why = expect.stringContaining('a rule values of PCR 4 prevents that')
    const allowed = ['BOOT_IMAGE=*', 'ro']
    expect(commandLineRules(booted(GRUB))).toEqual([
      { rule: 'kernel-command-line', from: 'grub', allowed, why },
    ])
  })

  test.each<[string, Measurements, string]>([
    [
      'a machine has none',
      measurementsOf([grub('grub_cmd', 'set root=hd0')]),
      'Not all machines have a command line there.',
    ],
    [
      'a machine was started without GRUB',
      withUntouched(FIRMWARE, 8),
      'Not all machines have a command line there.',
    ],
    [
      'no log leads to that of a machine',
      unexplained(GRUB),
      'Found: no log leads to sha256 PCR 8.',
    ],
  ])('is known by values alone where %s', (_, machine, because) => {
    const known = knownOf(measurementsOf(GRUB), machine)
    expect(commandLineRules(known)).toEqual([valuesRule(known, 8, because)])
  })

  test('has no rule on machines that were all started without GRUB', () => {
    expect(commandLineRules(knownOf(withUntouched(FIRMWARE, 8)))).toEqual([])
  })
})

describe("systemd's command line (systemd-stub measures it into PCR 12, the image into PCR 11)", () => {
  const STUB_WHY = expect.stringContaining('within the signed image')
  const fromSystemd = { rule: 'kernel-command-line', from: 'systemd', why: STUB_WHY }
  const IMAGE = { pcr: 11, data: 'kernel' }

  test('is told by its words, and what else is there by digests, each once', () => {
    const known = booted([CREDENTIALS, stub('quiet'), CREDENTIALS], [CREDENTIALS])
    const rule = { ...fromSystemd, allowed: ['quiet'], others: [sha256('cpio')] }
    expect(commandLineRules(known)).toEqual([rule])
    expect(commandLineRules(booted([stub('quiet')]))).toEqual([
      { ...fromSystemd, allowed: ['quiet'] },
    ])
  })

  test('is none where an image was started, and nothing was added to its line', () => {
    const known = knownOf(withUntouched(measurementsOf([IMAGE]), 12))
    expect(commandLineRules(known)).toEqual([{ ...fromSystemd, allowed: [] }])
  })

  test('is allowed whatever one of the machines added', () => {
    const added = withUntouched(measurementsOf([stub('quiet')]), 11)
    const known = knownOf(withUntouched(measurementsOf([]), 11, 12), added)
    expect(commandLineRules(known)).toEqual([{ ...fromSystemd, allowed: ['quiet'] }])
  })

  test('has no rule where neither was measured, quoted or not', () => {
    const nothing = measurementsOf([])
    expect(commandLineRules(knownOf(withUntouched(nothing, 11, 12)))).toEqual([])
    expect(commandLineRules(knownOf(withUntouched(nothing, 12)))).toEqual([])
    expect(commandLineRules(booted([IMAGE]))).toEqual([])
  })

  test('is known by its value alone where no log leads to it', () => {
    const known = knownOf(unexplained([stub('quiet')]))
    const because = 'Found: no log leads to sha256 PCR 12.'
    expect(commandLineRules(known)).toEqual([valuesRule(known, 12, because)])
  })
})

function policyOf(rules: readonly object[]) {
  const policy = { format: 'metabind pcr policy', version: 2, bank: 'sha256', rules }
  return parsePcrPolicy(Buffer.from(JSON.stringify(policy)))
}

/** Patterns of machines, each with the lines that systemd measured. */
function patterns(...machines: readonly (readonly string[])[]): unknown {
  const known = booted(...machines.map((lines) => lines.map(stub)))
  const rules = commandLineRules(known)
  for (const machine of known.machines) requireRules(policyOf(rules), machine)
  return rules[0]?.allowed
}
test('words without a value are allowed as they are, although each machine has one', () => {
  expect(patterns(['quiet'], ['splash'])).toEqual(['quiet', 'splash'])
})

test.each<[string, string[][], string[]]>([
  ['one of each machine: what they begin with', [['r=ab-1'], ['r=ab-2']], ['r=ab-*']],
  ['to the end of a part', [['r=a.b12'], ['r=a.b13']], ['r=a.*']],
  ['where one is the beginning of the other', [['r=a-'], ['r=a-1']], ['r=a-*']],
  ['where there is nothing more in common', [['r=12'], ['r=34']], ['r=*']],
  ['the same of each machine', [['r=12'], ['r=12']], ['r=12']],
  ['one of each line of a machine', [['r=12', 'r=34']], ['r=*']],
  ['two of one machine', [['c=1 c=2'], ['c=3']], ['c=1', 'c=2', 'c=3']],
  ['two of one machine, in one line of it', [['c=1', 'c=1 c=2']], ['c=1', 'c=2']],
  ['none of one machine', [['c=1'], ['quiet'], ['c=2']], ['c=1', 'c=2', 'quiet']],
  ['another name that ends so', [['c=1 xc='], ['c=2']], ['c=*', 'xc=']],
  ['blanks within', [['"f=a  b"']], ['f=a*b']],
])('words with a value, %s', (_, machines, expected) => {
  expect(patterns(...machines)).toEqual(expected)
})

test.each(['" ro"', '"ro "', 'r*o', 'r\u00e9', '"r\to"'])(
  'words are refused where a pattern would allow others, too: %j',
  (word) => {
    const known = booted([stub(word)])
    expect(commandLineRules(known)).toMatchObject([
      { rule: 'values', pcr: 12, why: expect.stringMatching(/^Found: the word ".+", which no /) },
    ])
  },
)

test('words are cut off behind 255 characters, as a pattern has 256 at most', () => {
  expect(patterns([`f=${'x'.repeat(254)}`])).toEqual([`f=${'x'.repeat(254)}`])
  expect(patterns([`f=${'x'.repeat(255)}`])).toEqual([`f=${'x'.repeat(253)}*`])
})

test('words that begin with more than a pattern has are cut off with one * at their end', () => {
  const long = (characters: number, end: string) => [`f=${'x'.repeat(characters - 3)}-${end}`]
  const cut = [`f=${'x'.repeat(253)}*`]
  expect(patterns(long(255, 'a'), long(255, 'b'))).toEqual([`f=${'x'.repeat(252)}-*`])
  expect(patterns(long(256, 'a'), long(256, 'b'))).toEqual(cut)
  expect(patterns(long(300, 'a'), long(300, 'b'))).toEqual(cut)
})
