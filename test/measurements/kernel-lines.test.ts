import { describe, expect, test } from 'vitest'
import { grubLines, systemdLines } from '../../src/measurements/kernel-lines.ts'
import { provenEvents } from '../../src/measurements/proven-events.ts'
import { grub, grubLinux, measurementsOf, stub } from '../harness/boot-events.ts'
import { type LoggedEvent, measured } from '../harness/event-log.ts'
import { detailOf } from '../harness/verify-case.ts'

/** Which of the strings that a boot loader measured count as a command line of the kernel. */

const events = (pcr: number, logged: readonly LoggedEvent[]) =>
  provenEvents(measurementsOf(logged), 'sha256', pcr)
const ofGrub = (...logged: LoggedEvent[]) => grubLines(events(8, logged), 'sha256')
const ofSystemd = (logged: readonly LoggedEvent[], others: readonly string[] = []) =>
  systemdLines(events(12, logged), 'sha256', others)
const textOf = (lines: readonly { readonly text: string }[]) => lines.map(({ text }) => text)

/** GRUB measures each command that it executes, with its arguments (grub-core/script/execute.c). */
describe('a string that GRUB measured', () => {
  test.each([
    // The label is not measured: whoever hands over the log can call a command line a command.
    [
      'a command line that the log calls a command',
      '/vmlinuz init=/bin/sh',
      '/vmlinuz init=/bin/sh',
    ],
    ['a command line that is a path alone', '/vmlinuz', '/vmlinuz'],
    ['a command line on another device', '(hd0,gpt2)/vmlinuz ro', '(hd0,gpt2)/vmlinuz ro'],
    ['a command line whose path begins with a name', 'boot/vmlinuz ro', 'boot/vmlinuz ro'],
    ['a command that loads a kernel', 'linux /vmlinuz ro', '/vmlinuz ro'],
    ['one of an EFI machine', 'linuxefi /vmlinuz ro', '/vmlinuz ro'],
    ['one that gives load options to an image', 'chainloader /vmlinuz.efi ro', '/vmlinuz.efi ro'],
    ['one that loads a module, such as a kernel of Xen', 'module2 /vmlinuz ro', '/vmlinuz ro'],
    ['one without arguments', 'linux', ''],
    ['one with a blank behind its name', 'linux  /vmlinuz', ' /vmlinuz'],
  ])('counts: %s', (_, string, line) => {
    expect(ofGrub(grub('grub_cmd', string))).toEqual([{ event: 1, text: `BOOT_IMAGE=${line}` }])
  })

  test.each([
    ['another command', 'insmod gzio'],
    ['a command without arguments', 'boot'],
    ['a command of one letter', 'a'],
    ['a command whose name ends as one that loads a kernel', 'savedlinux /vmlinuz ro'],
    ['an assignment to the name of one that loads a kernel', 'linux=/vmlinuz ro'],
    ['a test', '[ x = x ]'],
    ['a test without arguments', '['],
    ['an assignment', 'root=hd0,gpt2'],
    ['an assignment over two lines', 'menu=a\nb'],
    ['nothing', ''],
  ])('does not count: %s', (_, string) => {
    expect(ofGrub(grub('grub_cmd', string))).toEqual([])
  })

  test('counts whatever it looks like, if the log calls it a command line', () => {
    const lines = ['vmlinuz init=/bin/sh', 'linux /vmlinuz', 'boot', '']
    const logged = lines.map((line) => grub('kernel_cmdline', line))
    expect(textOf(ofGrub(...logged))).toEqual(lines.map((line) => `BOOT_IMAGE=${line}`))
  })

  test('counts by its place among the events of PCR 8', () => {
    expect(ofGrub(grub('grub_cmd', 'insmod gzio'), ...grubLinux('/vmlinuz ro'))).toEqual([
      { event: 2, text: 'BOOT_IMAGE=/vmlinuz ro' },
      { event: 3, text: 'BOOT_IMAGE=/vmlinuz ro' },
    ])
  })

  test('is refused if it is not what was measured', () => {
    const hidden = { ...grub('grub_cmd', 'boot'), measured: 'linux /vmlinuz init=/bin/sh' }
    expect(detailOf(() => ofGrub(...grubLinux('/vmlinuz'), hidden))).toBe(
      'VERIFY_PCR_POLICY Found: event 3 of PCR 8 was not made of its data.',
    )
  })
})

/** systemd-stub: docs/TPM2_PCR_MEASUREMENTS.md of systemd. */
describe('an event of PCR 12', () => {
  const credentials: LoggedEvent = { pcr: 12, data: 'Credentials initrd', measured: 'cpio' }
  const digest = measured(credentials).toString('hex')

  test('is a command line as the kernel has it, in bytes of UTF-8', () => {
    // Of \u0120 the second byte is A0, in which the kernel's isspace() sees a blank.
    expect(ofSystemd([stub('quiet'), stub('a\u0120b')])).toEqual([
      { event: 1, text: 'quiet' },
      { event: 2, text: 'a\u00c4\u00a0b' },
    ])
  })

  test('is left out if it is known by its digest, and only then', () => {
    expect(ofSystemd([credentials, stub('ro')], ['00'.repeat(32), digest])).toEqual([
      { event: 2, text: 'ro' },
    ])
    expect(detailOf(() => ofSystemd([stub('ro'), credentials], ['00'.repeat(32)]))).toBe(
      'VERIFY_PCR_POLICY Found: event 2 of PCR 12 was not made of its data.',
    )
  })

  test('is a command line also where its digest is named among the others', () => {
    const line = stub('init=/bin/sh')
    expect(textOf(ofSystemd([line], [measured(line).toString('hex')]))).toEqual(['init=/bin/sh'])
  })
})

/** COMMAND_LINE_SIZE of x86 and Arm is 2048, with a NUL at the end: the kernel drops what is longer. */
describe('a command line may be as long as the kernel takes', () => {
  test("GRUB's, with BOOT_IMAGE=", () => {
    const line = `/${'v'.repeat(2047 - 'BOOT_IMAGE=/'.length)}`
    expect(textOf(ofGrub(grub('kernel_cmdline', line)))).toEqual([`BOOT_IMAGE=${line}`])
    expect(detailOf(() => ofGrub(...grubLinux('/v'), grub('kernel_cmdline', `${line}v`)))).toBe(
      'VERIFY_PCR_POLICY Found: event 3 of PCR 8 is too long for a command line.',
    )
  })

  test("systemd's, by its bytes", () => {
    const line = `${'v'.repeat(2045)}\u00e9`
    expect(ofSystemd([stub(line)])).toHaveLength(1)
    expect(detailOf(() => ofSystemd([stub(`${line}v`)]))).toBe(
      'VERIFY_PCR_POLICY Found: event 1 of PCR 12 is too long for a command line.',
    )
  })

  test('and there may be 64 of them', () => {
    const lines = Array.from({ length: 64 }, (_, at) => grub('kernel_cmdline', `/${at}`))
    expect(ofGrub(...lines)).toHaveLength(64)
    expect(detailOf(() => ofGrub(...lines, grub('kernel_cmdline', '/more')))).toBe(
      'VERIFY_PCR_POLICY Found: 65 command lines in PCR 8.',
    )
    const stubs = Array.from({ length: 65 }, (_, at) => stub(`${at}`))
    expect(detailOf(() => ofSystemd(stubs))).toBe(
      'VERIFY_PCR_POLICY Found: 65 command lines in PCR 12.',
    )
  })
})
