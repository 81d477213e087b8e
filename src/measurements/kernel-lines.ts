import type { TpmHash } from '../format/algorithms.ts'
import { grubString, type MeasuredEvent, systemdString } from '../format/measured-event.ts'
import { refusePolicy } from './proven-events.ts'

/** A command line that the kernel was given, or may have been given. */
export interface KernelLine {
  /** Its event in the log. */
  readonly event: number
  /** As the kernel has it, a character for each byte. */
  readonly text: string
}

/** The PCR that a boot loader measures command lines into. */
export const KERNEL_LINE_PCRS = { grub: 8, systemd: 12 } as const

/** More than any machine has: each is compared with each pattern. */
const LINES_MAX = 64
// The kernel cuts off what is longer than COMMAND_LINE_SIZE, which is 2048 on x86 and Arm, with the NUL at its end.
const BYTES_MAX = 2047

// Commands that are given a kernel and its command line: linux, linux16, linuxefi, multiboot, kernel, …. What chainloader
// is given behind the image are load options: of a kernel with an EFI stub they are the command line, and GRUB measures no other.
const LOADS_KERNEL =
  /^(?:linux|kernel|legacy_kernel|multiboot|module|xen|chainloader|pxechainloader)[a-z0-9_]*$/
// A name, a test, or an assignment. No file's name is one, since it begins with a slash or a device.
const COMMAND = /^(?:[A-Za-z_][A-Za-z0-9_.-]*(?:=.*)?|\[)$/s
const LABELLED = 'kernel_cmdline: '

/**
 * What GRUB gave the kernel, from PCR 8. That a string is a command line and not a command says only the label in the log,
 * which anybody could have changed. So each string counts as one that does not begin as a command does, and the rest of
 * each command that loads a kernel.
 *
 * @param events all of PCR 8, from provenEvents
 * @throws MetabindError VERIFY_PCR_POLICY if an event is no string that GRUB measured: it could be any command line
 */
export function grubLines(events: readonly MeasuredEvent[], bank: TpmHash['name']): KernelLine[] {
  const lines = events.flatMap((event) => {
    const string = grubString(event, bank)
    if (string === undefined)
      refusePolicy(`event ${event.number} of PCR 8 was not made of its data`)
    const isLabelled = event.data.toString('latin1', 0, LABELLED.length) === LABELLED
    const line = isLabelled ? string : lineIn(string)
    // What /proc/cmdline begins with.
    return line === undefined ? [] : [{ event: event.number, text: `BOOT_IMAGE=${line}` }]
  })
  return bounded(lines, 8)
}

function lineIn(string: string): string | undefined {
  const end = string.indexOf(' ')
  const command = end === -1 ? string : string.slice(0, end)
  if (LOADS_KERNEL.test(command)) return string.slice(command.length + 1)
  return COMMAND.test(command) || string === '' ? undefined : string
}

/**
 * What systemd-stub and systemd-boot gave the kernel besides what the signed image has in it, from PCR 12.
 *
 * @param events all of PCR 12, from provenEvents
 * @param others digests of events that are known and no command line, such as credentials
 * @throws MetabindError VERIFY_PCR_POLICY if an event is none of both
 */
export function systemdLines(
  events: readonly MeasuredEvent[],
  bank: TpmHash['name'],
  others: readonly string[],
): KernelLine[] {
  const lines = events.flatMap((event) => {
    const text = systemdString(event, bank)
    if (text !== undefined) return [{ event: event.number, text: bytesOf(text) }]
    if (others.includes(event.digest.toString('hex'))) return []
    return refusePolicy(`event ${event.number} of PCR 12 was not made of its data`)
  })
  return bounded(lines, 12)
}

/** The EFI stub makes UTF-8 of it, and to the kernel the byte A0 is a blank, whichever character it is of. */
function bytesOf(text: string): string {
  return Buffer.from(text).toString('latin1')
}

function bounded(lines: readonly KernelLine[], pcr: number): KernelLine[] {
  if (lines.length > LINES_MAX) refusePolicy(`${lines.length} command lines in PCR ${pcr}`)
  const long = lines.find(({ text }) => text.length > BYTES_MAX)
  if (long !== undefined)
    refusePolicy(`event ${long.event} of PCR ${pcr} is too long for a command line`)
  return [...lines]
}
