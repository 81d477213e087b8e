import assert from 'node:assert/strict'
import { kernelWords } from '../../../src/format/kernel-command-line.ts'
import { fitsPattern } from '../../../src/format/word-pattern.ts'
import { parsePcrPolicy } from '../../../src/measurements/pcr-policy.ts'
import { parsePcrSignatures } from '../../../src/measurements/pcr-signature.ts'
import { requireRules } from '../../../src/measurements/policy-rules.ts'
import {
  config,
  GUID,
  grub,
  grubLinux,
  measurementsOf,
  secureBoot,
  separator,
  shimState,
  signatureList,
  stub,
  verifiedBy,
} from '../../harness/boot-events.ts'
import type { LoggedEvent } from '../../harness/event-log.ts'
import { altered, Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const RULES = [
  { rule: 'secure-boot' },
  { rule: 'boot-authorities', allowed: [{ commonName: 'a' }] },
  { rule: 'signature-database', database: 'dbx', contains: ['00'.repeat(32)] },
  { rule: 'digests', pcr: 7, allowed: ['00'.repeat(32)] },
  { rule: 'kernel-command-line', from: 'grub', allowed: ['BOOT_IMAGE=*', 'ro'] },
  { rule: 'kernel-command-line', from: 'systemd', allowed: ['ro'] },
]
const POLICY = Buffer.from(
  JSON.stringify({ format: 'metabind pcr policy', version: 2, bank: 'sha256', rules: RULES }),
)
const SIGNATURES = Buffer.from(
  JSON.stringify({ sha256: [{ pcrs: [11], pol: '00'.repeat(32), sig: 'AAAA', ref: 'initrd' }] }),
)
const policies = RULES.map((rule) =>
  parsePcrPolicy(
    Buffer.from(
      JSON.stringify({ format: 'metabind pcr policy', version: 2, bank: 'sha256', rules: [rule] }),
    ),
  ),
)
const EVENTS: readonly [LoggedEvent, ...LoggedEvent[]] = [
  secureBoot(1),
  secureBoot(0),
  config('db', signatureList(GUID.x509, [Buffer.from([0x30, 0x00])])),
  config('dbx', signatureList(GUID.sha256, [Buffer.alloc(32)])),
  separator(7),
  separator(7, '01000000'),
  verifiedBy(Buffer.from([0x30, 0x00])),
  shimState('MokSBState', Buffer.of(1)),
  grub('grub_cmd', 'ro'),
  ...grubLinux('/vmlinuz ro'),
  stub('ro'),
]

export const target: FuzzTarget = {
  execution:
    'a PCR policy and signed values read; an event log of events that are altered, held against each rule, again with other types',
  bytesMax: 1024,
  words: [
    '"rule":"',
    '"allowed":[',
    '"version":2',
    '"bank":"sha256"',
    'grub_cmd: ',
    'S\0e\0c\0u\0',
  ],
  seeds: () => [
    asItIs(POLICY),
    asItIs(SIGNATURES),
    chosen(0, 0, 2, 0, 3, 0, 4, 0, 6, 0),
    chosen(8, 0, 9, 0, 10, 0),
    chosen(0, 1, 40, 7, 4, 0, 11, 0),
  ],
  run(input) {
    const choices = new Choices(input)
    if (choices.byte() === CHOSEN) return heldAgainstRules(choices)
    const bytes = choices.rest()
    const policy = outcome(() => parsePcrPolicy(bytes))
    if (policy.code !== undefined) assert.equal(policy.code, 'VERIFY_PCR_POLICY_FILE')
    const signatures = outcome(() => parsePcrSignatures(bytes))
    if (signatures.code !== undefined) assert.equal(signatures.code, 'VERIFY_PCR_SIGNATURES')
    const words = kernelWords(bytes.toString('latin1'))
    for (const word of words) {
      assert.ok(word.length <= bytes.length)
      assert.ok(fitsPattern(word, word.includes('*') ? '*' : word))
    }
  },
}

/** Whatever the events are: no type of one changes what a rule finds, and a refusal is one of the policy. */
function heldAgainstRules(choices: Choices): void {
  const events: LoggedEvent[] = []
  while (!choices.isEmpty && events.length < 12) {
    const event = choices.pick(EVENTS)
    const data = Buffer.from(event.data as Uint8Array)
    events.push(choices.byte() % 4 === 3 ? { ...event, data: altered(data, choices) } : event)
  }
  const found = (logged: readonly LoggedEvent[]) => {
    const measurements = measurementsOf(logged)
    return policies.map((policy) => outcome(() => requireRules(policy, measurements)))
  }
  const once = found(events)
  for (const { code } of once) assert.ok(code === undefined || code === 'VERIFY_PCR_POLICY')
  assert.deepEqual(found(events.map((event) => ({ ...event, type: 1 }))), once)
}
