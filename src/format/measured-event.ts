import { createHash } from 'node:crypto'
import type { TpmHash } from './algorithms.ts'

/** An event that extended a PCR, in one bank: its digest, and what a log says that it is of. */
export interface MeasuredEvent {
  /** Its place among the events of its PCR, from 1. */
  readonly number: number
  readonly digest: Buffer
  /** The log's word, unless isMeasured holds for it. */
  readonly data: Buffer
}

/** Whether an event's digest is the hash of these bytes: then they were measured, whatever the event's type is. */
export function isMeasured(event: MeasuredEvent, bank: TpmHash['name'], bytes: Buffer): boolean {
  return createHash(bank).update(bytes).digest().equals(event.digest)
}

/**
 * The bytes that an event's digest is the hash of: its data, or all but the last byte of them, since old versions of
 * shim log a byte more than they measure.
 *
 * @returns undefined if it is of something else, such as the image that was started
 */
export function measuredBytes(event: MeasuredEvent, bank: TpmHash['name']): Buffer | undefined {
  const { data } = event
  return [data, data.subarray(0, -1)].find((bytes) => isMeasured(event, bank, bytes))
}

// What GRUB puts before a string for people to read. It measures the string alone.
const GRUB_LABEL = /^(?:grub_cmd|kernel_cmdline|module_cmdline): /

/**
 * The string that GRUB measured (grub-core/commands/tpm.c: the string without a NUL), which it logs with a label before
 * and a NUL behind. The label is the log's word alone.
 */
export function grubString(event: MeasuredEvent, bank: TpmHash['name']): string | undefined {
  const { data } = event
  const text = (data.at(-1) === 0 ? data.subarray(0, -1) : data).toString('latin1')
  const strings = [text.replace(GRUB_LABEL, ''), text]
  return strings.find((string) => isMeasured(event, bank, Buffer.from(string, 'latin1')))
}

/**
 * The string that systemd-stub or systemd-boot measured (src/boot/measure.c, tpm_log_load_options): UTF-16 with its NUL.
 * systemd's docs/TPM2_PCR_MEASUREMENTS.md says without; either is what was measured.
 */
export function systemdString(event: MeasuredEvent, bank: TpmHash['name']): string | undefined {
  const { data } = event
  if (data.length % 2 !== 0) return undefined
  const bare =
    data.length >= 2 && data.readUInt16LE(data.length - 2) === 0 ? data.subarray(0, -2) : data
  const isIt = [data, bare].some((bytes) => isMeasured(event, bank, bytes))
  return isIt ? bare.toString('utf16le') : undefined
}
