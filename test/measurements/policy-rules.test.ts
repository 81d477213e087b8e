import { createHash } from 'node:crypto'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { MetabindError } from '../../src/errors.ts'
import { parsePcrPolicy } from '../../src/measurements/pcr-policy.ts'
import { requireRules } from '../../src/measurements/policy-rules.ts'
import { verifyEvidence } from '../../src/verify/index.ts'
import {
  application,
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
  TYPE,
  variable,
  verifiedBy,
} from '../harness/boot-events.ts'
import { makeAuthority } from '../harness/certificate.ts'
import { type LoggedEvent, makeEventLog, measured } from '../harness/event-log.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { bytesOf, genuineCase, type VerifyCase } from '../harness/verify-case.ts'

/** Policies over events: what firmware and boot loaders say that they measured, and did measure. */

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex')

const MICROSOFT = makeAuthority('UEFI CA')
const DISTRIBUTION = makeAuthority('Distribution CA')
const FORBIDDEN = [sha256('old shim'), sha256('old GRUB')]
const DB = signatureList(GUID.x509, [MICROSOFT.der])
const DBX = signatureList(
  GUID.sha256,
  FORBIDDEN.map((hash) => Buffer.from(hash, 'hex')),
)
const LINE = '/vmlinuz-6.1.0-13-amd64 root=UUID=12 ro quiet'
const SHIM_AUTHORITY: LoggedEvent = {
  pcr: 7,
  type: TYPE.authority,
  data: variable(GUID.shim, 'Shim', DISTRIBUTION.der),
}
const CONFIGURED = [
  secureBoot(1),
  config('PK', Buffer.from('PK')),
  config('KEK', Buffer.from('KEK')),
  config('db', DB),
  config('dbx', DBX),
]
const VERIFIED = [
  verifiedBy(MICROSOFT.der),
  shimState('SbatLevel', Buffer.from('sbat,1,2023012900\n')),
  SHIM_AUTHORITY,
]
const PCR7 = [...CONFIGURED, separator(7), ...VERIFIED]
const COMMANDS = [
  grub('grub_cmd', 'insmod gzio'),
  grub('grub_cmd', 'menuentry_id_option=--id'),
  grub('grub_cmd', '[ x = x ]'),
  grub('grub_cmd', 'menuentry Debian { linux /vmlinuz init=/bin/sh }'),
]
const BOOT: readonly LoggedEvent[] = [
  ...PCR7,
  application('shim'),
  application('GRUB'),
  ...COMMANDS,
  ...grubLinux(LINE),
  stub('console=ttyS0'),
]

const RULES = {
  secureBoot: { rule: 'secure-boot' },
  authorities: {
    rule: 'boot-authorities',
    allowed: [{ certificate: sha256(MICROSOFT.der) }, { commonName: 'Distribution CA' }],
  },
  dbx: { rule: 'signature-database', database: 'dbx', contains: FORBIDDEN },
  db: { rule: 'signature-database', database: 'db', allowed: [sha256(DB)] },
  images: { rule: 'digests', pcr: 4, allowed: ['shim', 'GRUB', 'new GRUB'].map(sha256) },
  grub: {
    rule: 'kernel-command-line',
    from: 'grub',
    allowed: ['BOOT_IMAGE=/vmlinuz-*', 'root=UUID=*', 'ro', 'quiet'],
    required: ['ro'],
    forbidden: ['init=*'],
  },
  systemd: { rule: 'kernel-command-line', from: 'systemd', allowed: ['console=*'] },
} as const

const policyFile = (rules: readonly object[], members: object = {}) =>
  Buffer.from(
    JSON.stringify({
      format: 'metabind pcr policy',
      version: 2,
      bank: 'sha256',
      ...members,
      rules,
    }),
  )

/** What a rule finds in a log, the PCRs being what the log leads to. */
function found(rule: object, events: readonly LoggedEvent[]): string {
  const policy = parsePcrPolicy(policyFile([rule]))
  try {
    return requireRules(policy, measurementsOf(events)).join()
  } catch (error) {
    if (!(error instanceof MetabindError) || error.code !== 'VERIFY_PCR_POLICY') throw error
    return `refused: ${error.detail}`
  }
}

test.each([
  ['PK', sha256('PK')],
  ['KEK', sha256('KEK')],
  ['db', sha256(DB)],
  ['dbx', sha256(DBX)],
])('%s is what the firmware measured under that name', (database, digest) => {
  const rule = { rule: 'signature-database', database, allowed: [digest] }
  expect(found(rule, PCR7)).toBe(`${database} is ${digest}`)
})

describe('a machine that booted rightly', () => {
  let swtpm: Swtpm
  let tpm: Tpm
  let it: VerifyCase
  beforeAll(async () => {
    swtpm = await startSwtpm()
    const extensions = BOOT.map((event) => `${event.pcr}:sha256=${measured(event).toString('hex')}`)
    await tpm2(swtpm, 'pcrextend', ...extensions)
    tpm = await openTpm({ tcti: swtpm.tcti })
    const genuine = await genuineCase(tpm)
    const { nonce, evidence } = genuine
    const { certificates } = evidence.ek
    const pcrs = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12]
    const quoted = await gatherEvidence(tpm, {
      nonce,
      pcrs,
      certificates,
      ...evidence.identityDocument,
    })
    it = { ...genuine, evidence: { ...quoted, eventLog: makeEventLog(BOOT) } }
  })
  afterAll(async () => {
    await tpm.close()
    await swtpm.stop()
  })

  test('satisfies every rule, and the result says what each found', () => {
    const pcrPolicy = policyFile(Object.values(RULES))
    const verified = verifyEvidence(bytesOf(it.evidence), { ...it.options, pcrPolicy })
    expect(verified.proven).toContain('pcr-policy')
    expect(verified.policy).toEqual([
      'Secure Boot is on',
      'verified by "UEFI CA", "Distribution CA"',
      `dbx is ${sha256(DBX)}`,
      `db is ${sha256(DB)}`,
      'events of PCR 4: 2, each with an allowed digest',
      `kernel command line: "BOOT_IMAGE=${LINE}"`,
      'kernel command line: "console=ttyS0"',
    ])
  })

  test('is refused with a log that leads to the firmware, but not to the PCR of the rule', () => {
    const eventLog = makeEventLog(BOOT.filter(({ pcr }) => pcr !== 8))
    const pcrPolicy = policyFile([RULES.grub])
    expect(() =>
      verifyEvidence(bytesOf({ ...it.evidence, eventLog }), { ...it.options, pcrPolicy }),
    ).toThrow('no log leads to sha256 PCR 8')
  })

  test('is refused without a log, and where the PCR is not quoted', () => {
    const { eventLog: _, ...bare } = it.evidence
    const asked = { ...it.options, pcrPolicy: policyFile([RULES.secureBoot]) }
    expect(() => verifyEvidence(bytesOf(bare), asked)).toThrow('no log leads to sha256 PCR 7')
    const other = { ...it.options, pcrPolicy: policyFile([{ ...RULES.images, pcr: 14 }]) }
    expect(() => verifyEvidence(bytesOf(it.evidence), other)).toThrow('sha256 PCR 14 is not quoted')
  })
})

test('types of events are believed nowhere: another type changes nothing', () => {
  const renamed = BOOT.map((event) => ({ ...event, type: 1 }))
  for (const rule of Object.values(RULES)) expect(found(rule, renamed)).toBe(found(rule, BOOT))
})

describe('Secure Boot is refused', () => {
  const off = [secureBoot(0), ...CONFIGURED.slice(1), separator(7)]
  const hidden = off.map((event) => ({ ...event, type: 1 }))
  test.each<[string, readonly LoggedEvent[], string]>([
    ['when it is off', off, 'Secure Boot is off'],
    [
      'when what says off has another type, and on is appended',
      [...hidden, ...PCR7],
      'second separator',
    ],
    [
      'when on is appended without a separator',
      [...hidden, secureBoot(1)],
      'is a SecureBoot behind',
    ],
    ['when two are before the separator', [secureBoot(0), ...PCR7], 'second SecureBoot'],
    [
      'when two are before it, on first',
      [secureBoot(1), secureBoot(0), separator(7)],
      'second SecureBoot',
    ],
    [
      'when an event was not made of its data',
      [
        { ...secureBoot(1), measured: variable(GUID.global, 'SecureBoot', Buffer.of(0)) },
        ...PCR7.slice(1),
      ],
      'event 1 of PCR 7 was not made of its data',
    ],
    [
      'when an event was not made of its data, behind the right ones',
      [...PCR7, { pcr: 7, data: 'x', measured: 'y' }],
      'was not made of its data',
    ],
    ['when an event is unknown', [...PCR7, { pcr: 7, data: 'anything' }], 'nothing that is known'],
    [
      'when the variable is of another vendor',
      [{ ...secureBoot(1), data: variable(GUID.shim, 'SecureBoot', Buffer.of(1)) }, separator(7)],
      'Secure Boot is off',
    ],
    [
      'when the variable is longer',
      [config('SecureBoot', Buffer.of(1, 0)), separator(7)],
      'Secure Boot is off',
    ],
    ['when there is no separator', CONFIGURED, 'no separator'],
    ['when the separator is an error', [...CONFIGURED, separator(7, '01000000')], 'no separator'],
    [
      'when shim was told to verify nothing',
      [...PCR7, shimState('MokSBState', Buffer.of(1))],
      'shim verified nothing',
    ],
    [
      'when the firmware was debugged',
      [{ pcr: 7, type: TYPE.action, data: 'UEFI Debug Mode' }, ...PCR7],
      'being debugged',
    ],
    ['when nothing was measured', [], 'not quoted'],
  ])('%s', (_, events, why) => {
    expect(found(RULES.secureBoot, events)).toContain(why)
    expect(found(RULES.authorities, events)).toContain(why)
  })

  test('and not when shim was told to verify', () => {
    const events = [...PCR7, shimState('MokSBState', Buffer.of(0))]
    expect(found(RULES.secureBoot, events)).toBe('Secure Boot is on')
  })
})

describe('what old versions of shim log', () => {
  test.each([
    [
      'a byte more than they measure',
      (data: Buffer) => ({ data: Buffer.concat([data, Buffer.of(7)]), measured: data }),
    ],
    [
      'padding that they measure too',
      (data: Buffer) => ({ data: Buffer.concat([data, Buffer.alloc(5)]) }),
    ],
  ])('%s, is read', (_, changed) => {
    const events = [
      ...PCR7.slice(0, -1),
      { ...SHIM_AUTHORITY, ...changed(SHIM_AUTHORITY.data as Buffer) },
    ]
    expect(found(RULES.authorities, events)).toBe('verified by "UEFI CA", "Distribution CA"')
  })
})

describe('authorities are refused', () => {
  const stranger = makeAuthority('Stranger')
  test.each<[string, readonly LoggedEvent[], string]>([
    [
      'when one is not allowed, although the others are',
      [...PCR7, verifiedBy(stranger.der)],
      `"Stranger", certificate ${sha256(stranger.der)}`,
    ],
    ['when one forbade an image', [...PCR7, verifiedBy(MICROSOFT.der, 'dbx')], 'of "dbx"'],
    [
      'when an image was verified by its hash',
      [...PCR7, verifiedBy(Buffer.alloc(32, 1))],
      'contents ',
    ],
    ['when none verified anything', [...CONFIGURED, separator(7)], 'no authority'],
    [
      'when only a driver was verified',
      [...CONFIGURED, verifiedBy(MICROSOFT.der), separator(7)],
      'no authority',
    ],
    [
      'when there are more than any machine has',
      [...PCR7, ...Array.from({ length: 65 }, () => SHIM_AUTHORITY)],
      '67 authorities',
    ],
  ])('%s', (_, events, why) => {
    expect(found(RULES.authorities, events)).toContain(`refused: Found:`)
    expect(found(RULES.authorities, events)).toContain(why)
  })

  test('and not one that is allowed by the hash of its entry', () => {
    const byHash = verifiedBy(Buffer.alloc(32, 1))
    const entry = Buffer.concat([Buffer.from(GUID.owner, 'hex'), Buffer.alloc(32, 1)])
    const contents = sha256(entry)
    const rule = { ...RULES.authorities, allowed: [...RULES.authorities.allowed, { contents }] }
    const said = found(rule, [...PCR7, byHash])
    expect(said).toBe(`verified by "UEFI CA", "Distribution CA", "${contents}"`)
  })

  test('and the refusal names the event, what was found and what was expected, in one bounded line', () => {
    const long = makeAuthority(`Evil\u001b[2J ${'x'.repeat(60)}`)
    const said = found(RULES.authorities, [...PCR7, verifiedBy(long.der)])
    expect(said).toMatch(
      /^refused: Found: event 10 of PCR 7 is "Evil\?\[2J x+", certificate [0-9a-f]{64}, of "db"; expected: /,
    )
    expect(said).toContain(sha256(MICROSOFT.der))
  })
})

describe('signature databases', () => {
  test.each<[string, object, string]>([
    [
      'other contents',
      { ...RULES.db, allowed: [sha256('x')] },
      `db is ${sha256(DB)}; expected: ${sha256('x')}`,
    ],
    [
      'a hash that is not in it',
      { ...RULES.dbx, contains: [sha256('x')] },
      `dbx does not have ${sha256('x')}`,
    ],
    [
      'hashes of a database that has none',
      { ...RULES.db, allowed: undefined, contains: [sha256('x')] },
      'db does not have',
    ],
    ['one that is malformed', { ...RULES.dbx, database: 'PK' }, 'PK is malformed'],
  ])('%s: refused', (_, rule, why) => expect(found(rule, PCR7)).toContain(why))

  test('one that was not measured: refused', () => {
    expect(found(RULES.db, [secureBoot(1), separator(7)])).toContain('no db was measured')
  })

  test('contents of any form, if they are known by their digest: accepted', () => {
    const rule = { ...RULES.db, database: 'PK', allowed: [sha256('PK')] }
    expect(found(rule, PCR7)).toBe(`PK is ${sha256('PK')}`)
  })

  test('a dbx that has grown: accepted', () => {
    const grown = Buffer.concat([DBX, signatureList(GUID.sha256, [Buffer.alloc(32)])])
    const events = PCR7.map((event) =>
      event.data === CONFIGURED[4]?.data ? config('dbx', grown) : event,
    )
    expect(found(RULES.dbx, events)).toBe(`dbx is ${sha256(grown)}`)
  })
})

describe('digests', () => {
  test('in another order, and an image of a newer version: accepted', () => {
    expect(found(RULES.images, [application('new GRUB'), application('shim')])).toContain(
      ': 2, each',
    )
  })
  test('a kernel started before GRUB was measured: only the value of the PCR tells', () => {
    const rightly = [application('shim'), application('GRUB')]
    const wrongly = rightly.toReversed()
    const value = measurementsOf(rightly).quoted.get('sha256')?.get(4)?.toString('hex')
    const values = { rule: 'values', pcr: 4, allowed: [value] }
    expect(found(RULES.images, wrongly)).toContain(': 2, each')
    expect(found(values, rightly)).toContain(`PCR 4 is ${value}`)
    expect(found(values, wrongly)).toContain('refused: Found: ')
  })
  test('one that is unknown: refused, with its event', () => {
    const said = found(RULES.images, [...BOOT, application('bootkit')])
    expect(said).toContain(`event 3 of PCR 4 is ${sha256('bootkit')}; expected: `)
    expect(said).toContain(`${sha256('shim')}`)
  })
})

describe("GRUB's command line is refused", () => {
  const evil = '/vmlinuz-6.1.0-13-amd64 root=UUID=12 ro init=/bin/sh'
  const renamed = grubLinux(evil).map((event) => ({
    ...event,
    data: (event.data as string).replace('kernel_cmdline', 'grub_cmd'),
  }))
  const good = grubLinux(LINE)
  test.each<[string, readonly LoggedEvent[], string]>([
    [
      'with a forbidden word',
      grubLinux(evil),
      'the word "init=/bin/sh" in event 1 of PCR 8, which init=* forbids',
    ],
    ['with a forbidden word in quotes', grubLinux(`${LINE} "init=/bin/sh"`), '"init=/bin/sh"'],
    [
      'with a word that is not allowed',
      grubLinux(`${LINE} rd.break`),
      'the word "rd.break" in event 1 of PCR 8; expected: BOOT_IMAGE=/vmlinuz-*',
    ],
    [
      'without a word that is required',
      grubLinux('/vmlinuz-6.1 root=UUID=12'),
      'no word ro in event 1',
    ],
    ['when its label is changed and a good one is appended', [...renamed, ...good], 'init=/bin/sh'],
    [
      'when the command is hidden as another string',
      [{ ...grub('grub_cmd', 'x'), measured: `linux ${evil}` }, ...good],
      'event 1 of PCR 8 was not made of its data',
    ],
    ['of a kernel that was tried before', [...grubLinux(evil), ...good], 'init=/bin/sh'],
    ['when GRUB measured none', COMMANDS, 'no kernel command line'],
    [
      'of a kernel that GRUB starts as an EFI image, with load options',
      [...good, grub('grub_cmd', 'chainloader /vmlinuz-6.1.0-13-amd64 root=UUID=12 init=/bin/sh')],
      'init=/bin/sh',
    ],
    ['when the kernel would cut it off', grubLinux(`/vmlinuz-${'x'.repeat(2040)}`), 'too long'],
    ['when there are too many', Array.from({ length: 33 }, () => good).flat(), '66 command lines'],
  ])('%s', (_, events, why) => {
    expect(found(RULES.grub, events)).toContain(`refused: Found: `)
    expect(found(RULES.grub, events)).toContain(why)
  })
})

describe('a required word', () => {
  const grubRule = { rule: 'kernel-command-line', from: 'grub', required: ['ro'] }
  const systemdRule = { rule: 'kernel-command-line', from: 'systemd', required: ['ro'] }

  test('stands in each line of GRUB', () => {
    const both = [...grubLinux('/a ro'), ...grubLinux('/b ro')]
    expect(found(grubRule, both)).toBe('kernel command line: "BOOT_IMAGE=/b ro"')
    const second = [...grubLinux('/a ro'), ...grubLinux('/b')]
    expect(found(grubRule, second)).toMatch(/no word ro in event [34] of PCR 8/)
    expect(found(grubRule, [...grubLinux('/a'), ...grubLinux('/b ro')])).toMatch(
      /no word ro in event [12] of PCR 8/,
    )
  })

  test('stands in one of the lines of systemd, and there has to be one', () => {
    expect(found(systemdRule, [stub('quiet'), stub('ro')])).toBe('kernel command line: "ro"')
    expect(found(systemdRule, [stub('quiet')])).toContain('no word ro in event 1 of PCR 12')
    expect(found(systemdRule, [stub('a'), stub('b')])).toContain(
      'no word ro in all events of PCR 12',
    )
  })

  test('is not asked for where none is named', () => {
    const rule = { rule: 'kernel-command-line', from: 'systemd', forbidden: ['init=*'] }
    expect(found(rule, [stub('quiet')])).toBe('kernel command line: "quiet"')
  })
})

test.each(['a -- lockdown=integrity', 'a\nlockdown=integrity', "'lockdown=integrity'"])(
  'a required word that the kernel does not take for its own is missing: %j',
  (line) => {
    const rule = { ...RULES.systemd, allowed: undefined, required: ['lockdown=integrity'] }
    expect(found(rule, [stub('lockdown=integrity')])).not.toContain('refused')
    expect(found(rule, [stub(line)])).toContain('no word lockdown=integrity')
  },
)

describe("systemd's command line", () => {
  test.each<[string, readonly LoggedEvent[], object, string]>([
    [
      'with a word that is not allowed',
      [stub('console=ttyS0 rd.break')],
      RULES.systemd,
      '"rd.break"',
    ],
    [
      'with an event that is no string',
      [{ pcr: 12, data: 'Credentials initrd', measured: 'cpio' }],
      RULES.systemd,
      'event 1 of PCR 12 was not made of its data',
    ],
    [
      'with a character in which the kernel sees a blank',
      [stub('console=ttyS0,\u0120init=/bin/sh')],
      RULES.systemd,
      '"init=/bin/sh"',
    ],
    [
      'that is there, where none may be',
      [stub('quiet')],
      { ...RULES.systemd, allowed: [] },
      'the word "quiet" in event 1 of PCR 12; expected: none',
    ],
    [
      'without a word that is required in any',
      [stub('a'), stub('b')],
      { ...RULES.systemd, allowed: undefined, required: ['c'] },
      'no word c in all events',
    ],
  ])('%s: refused', (_, events, rule, why) => {
    expect(found(rule, events)).toContain('refused: Found: ')
    expect(found(rule, events)).toContain(why)
  })

  test('with credentials that are known by their digest, and measured without its NUL: accepted', () => {
    const credentials = { pcr: 12, data: 'Credentials initrd', measured: 'cpio' }
    const bare = { ...stub('console=ttyS0'), measured: Buffer.from('console=ttyS0', 'utf16le') }
    const rule = { ...RULES.systemd, others: [sha256('cpio')] }
    expect(found(rule, [credentials, bare])).toBe('kernel command line: "console=ttyS0"')
    // A signed image has its own within.
    expect(found(rule, [credentials])).toBe('kernel command line: none')
  })
})
