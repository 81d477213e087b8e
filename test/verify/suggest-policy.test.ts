import { createHash } from 'node:crypto'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import type { Evidence } from '../../src/format/evidence.ts'
import { commandLineRules } from '../../src/measurements/suggested-rules.ts'
import { suggestPcrPolicy, type Trust, verifyEvidence } from '../../src/verify/index.ts'
import {
  application,
  config,
  GUID,
  grub,
  grubLinux,
  measurementsOf,
  secureBoot,
  separator,
  signatureList,
  stub,
  verifiedBy,
} from '../harness/boot-events.ts'
import { makeAuthority } from '../harness/certificate.ts'
import { type LoggedEvent, makeEventLog, measured } from '../harness/event-log.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { bytesOf, genuineCase, NOW, type VerifyCase } from '../harness/verify-case.ts'

/** Policies that are suggested from good machines: real quotes of TPMs that were extended as logs say. */

const CA = makeAuthority('UEFI CA')
const OTHER_CA = makeAuthority('Other CA')
const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex')

const booted = (by: Buffer, root: string, kernel: string): LoggedEvent[] => [
  secureBoot(1),
  config('db', signatureList(GUID.x509, [CA.der])),
  separator(7),
  verifiedBy(by),
  application('GRUB'),
  grub('grub_cmd', 'insmod gzio'),
  ...grubLinux(`/vmlinuz-${kernel} root=UUID=${root} ro "dyndbg=file x"`),
]
const GOOD = booted(CA.der, 'aaaa-1', '6.1.0-13')
const OTHER = booted(OTHER_CA.der, 'bbbb-2', '6.1.0-14')
const UPDATED = booted(CA.der, 'cccc-3', '6.1.0-99')
const UNSAFE = [secureBoot(0), separator(7), application('any'), ...grubLinux('/vmlinuz ro')]
const UKI = [
  secureBoot(1),
  separator(7),
  verifiedBy(CA.der),
  { pcr: 11, data: 'kernel' },
  { pcr: 12, data: 'Credentials initrd', measured: 'cpio' },
  stub('console=ttyS0'),
]

const stack = new AsyncDisposableStack()
afterAll(() => stack.disposeAsync())
let trust: Trust

/** Evidence of a machine that booted so. */
async function machine(events: readonly LoggedEvent[]): Promise<VerifyCase> {
  const swtpm = await startSwtpm()
  stack.defer(() => swtpm.stop())
  const all = events.map((event) => `${event.pcr}:sha256=${measured(event).toString('hex')}`)
  await tpm2(swtpm, 'pcrextend', ...all)
  const tpm: Tpm = await openTpm({ tcti: swtpm.tcti })
  stack.defer(() => tpm.close())
  const genuine = await genuineCase(tpm)
  const { nonce, evidence } = genuine
  const { certificates } = evidence.ek
  const pcrs = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12]
  const quoted = await gatherEvidence(tpm, {
    nonce,
    pcrs,
    certificates,
    ...evidence.identityDocument,
  })
  const whole: Evidence = { ...quoted, eventLog: makeEventLog(events) }
  return { ...genuine, evidence: whole }
}

let [good, other, updated, unsafe, uki]: VerifyCase[] = []
beforeAll(async () => {
  ;[good, other, updated, unsafe, uki] = await Promise.all(
    [GOOD, OTHER, UPDATED, UNSAFE, UKI].map(machine),
  )
}, 60_000)

const all = (...cases: readonly (VerifyCase | undefined)[]) => cases.flatMap((each) => each ?? [])

function suggested(...cases: readonly VerifyCase[]): string {
  trust = {
    ekAnchors: cases.map(({ authority }) => authority.der),
    identityCertificate: cases[0]?.options.trust.identityCertificate ?? Buffer.alloc(0),
  }
  const evidence = cases.map(({ evidence: { identityDocument: _, ...rest } }) => bytesOf(rest))
  return suggestPcrPolicy(evidence, { trust, now: NOW })
}

const accepts = (policy: string, { evidence, options }: VerifyCase) =>
  verifyEvidence(bytesOf(evidence), { ...options, pcrPolicy: Buffer.from(policy) }).policy

const rulesOf = (policy: string): Record<string, unknown>[] => JSON.parse(policy).rules

describe('of two machines that differ', () => {
  test('accepts both, by events, with a reason for each rule', () => {
    const machines = all(good, other)
    const policy = suggested(...machines)
    for (const each of machines) expect(accepts(policy, each)).toHaveLength(4)
    expect(rulesOf(policy)).toEqual([
      { rule: 'values', pcr: 0, allowed: ['00'.repeat(32)], why: expect.any(String) },
      { rule: 'secure-boot', why: expect.any(String) },
      {
        rule: 'boot-authorities',
        allowed: [{ certificate: sha256(CA.der) }, { certificate: sha256(OTHER_CA.der) }],
        why: expect.stringContaining('"UEFI CA", "Other CA"'),
      },
      {
        rule: 'kernel-command-line',
        from: 'grub',
        allowed: ['BOOT_IMAGE=*', 'root=UUID=*', 'ro', 'dyndbg=file*x'],
        why: expect.any(String),
      },
    ])
    expect(JSON.parse(policy).why).toContain('not ruled: 1, 2, 3, 4, 5, 6, 11, 12')
  })

  test('accepts a third one after an update, and refuses one that booted otherwise', () => {
    const policy = suggested(...all(good, other))
    const [third, odd] = all(updated, unsafe)
    if (third === undefined || odd === undefined) throw new Error('no machines')
    expect(accepts(policy, third)).toHaveLength(4)
    expect(() => accepts(policy, odd)).toThrow('Secure Boot is off')
  })
})

test('of one machine: what is its own is not made a pattern', () => {
  const [rule] = rulesOf(suggested(...all(good))).filter(({ from }) => from === 'grub')
  expect(rule?.allowed).toEqual(['BOOT_IMAGE=*', 'root=UUID=aaaa-1', 'ro', 'dyndbg=file*x'])
})

test.each(['init=\u00e9', '*', 'init=*', '" "', '"init= "'])(
  'a word that a pattern names only with others is not made one: %s',
  (word) => {
    const rules = (line: string) =>
      commandLineRules({
        bank: 'sha256',
        machines: [measurementsOf(grubLinux(`/vmlinuz ${line}`))],
      })
    expect(rules('ro')).toMatchObject([{ allowed: ['BOOT_IMAGE=*', 'ro'] }])
    expect(rules(`ro ${word}`)).toMatchObject([
      { rule: 'values', pcr: 8, why: expect.stringContaining('which no pattern names alone') },
    ])
  },
)

test('without Secure Boot: images by their digests, and the value of PCR 7, which says why', () => {
  const rules = rulesOf(suggested(...all(unsafe)))
  expect(rules).toContainEqual({
    rule: 'values',
    pcr: 7,
    allowed: [expect.stringMatching(/^[0-9a-f]{64}$/)],
    why: expect.stringMatching(/^Secure Boot is off\. /),
  })
  expect(rules).toContainEqual(
    expect.objectContaining({ rule: 'digests', pcr: 4, allowed: [sha256('any')] }),
  )
})

test('of a unified kernel image: PCR 12 by its words, PCR 11 by its value', () => {
  const rules = rulesOf(suggested(...all(uki)))
  expect(rules).toContainEqual(
    expect.objectContaining({
      from: 'systemd',
      allowed: ['console=ttyS0'],
      others: [sha256('cpio')],
    }),
  )
  expect(rules).toContainEqual(
    expect.objectContaining({
      rule: 'values',
      pcr: 11,
      why: expect.stringContaining('signed-pcrs'),
    }),
  )
})

describe('refused', () => {
  test('evidence that is altered', () => {
    const [one] = all(good)
    if (one === undefined) throw new Error('no machine')
    const { sha256: values } = one.evidence.pcrs
    const pcrs = { sha256: { ...values, '7': Buffer.alloc(32) } }
    const altered = { ...one, evidence: { ...one.evidence, pcrs } }
    expect(() => suggested(altered)).toThrow(expect.objectContaining({ code: 'VERIFY_PCR_DIGEST' }))
  })

  test('no evidence at all', () => {
    expect(() => suggestPcrPolicy([], { trust: { ekPins: [] }, now: NOW })).toThrow(
      expect.objectContaining({ code: 'VERIFY_PCR_SELECTION' }),
    )
  })
})
