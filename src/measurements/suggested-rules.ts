import { MetabindError } from '../errors.ts'
import { groupedBy } from '../format/grouped.ts'
import { kernelWords } from '../format/kernel-command-line.ts'
import { systemdString } from '../format/measured-event.ts'
import { shownText } from '../format/shown-text.ts'
import { isAllowed, namedAuthority } from './authority.ts'
import { grubLines, type KernelLine, systemdLines } from './kernel-lines.ts'
import type { PolicyBank } from './pcr-policy.ts'
import { type Measurements, provenEvents, refusePolicy } from './proven-events.ts'
import { readSecureBoot, type SecureBoot } from './secure-boot.ts'

/** A rule as it stands in a policy file, with its reason. */
export type SuggestedRule = { readonly rule: string; readonly why: string } & Record<
  string,
  unknown
>

/** What was measured on machines that are known to be good, in one bank. */
export interface Known {
  readonly bank: PolicyBank
  readonly machines: readonly Measurements[]
}

/** What firmware and boot loader verified; or the value of PCR 7, if that is all that can be said. */
export function secureBootRules(known: Known): SuggestedRule[] {
  const { bank, machines } = known
  if (!isQuoted(known, 7)) return []
  try {
    const read = machines.map((each) => readSecureBoot(provenEvents(each, bank, 7), bank))
    const reason = read.map(offBecause).find((why) => why !== undefined)
    if (reason !== undefined) return [valueRule(known, 7, reason)]
    const why = 'Firmware starts only what its databases allow. PCR 7 says so.'
    return [{ rule: 'secure-boot', why }, authoritiesRule(read)]
  } catch (error) {
    return [valueRule(known, 7, refusalIn(error))]
  }
}

function offBecause(secureBoot: SecureBoot): string | undefined {
  const { isOn, isShimOff, isDebugged, authorities } = secureBoot
  if (!isOn) return 'Secure Boot is off.'
  if (isShimOff) return 'Shim verifies nothing (MokSBState).'
  if (isDebugged) return 'The firmware was being debugged.'
  if (authorities.length === 0) return 'No authority verified anything.'
  const found = authorities.map(namedAuthority)
  const odd = found.find((one) => !isAllowed(one, [{ contents: one.contents }]))
  return odd && `An image was forbidden, by ${shownText(odd.database)}.`
}

function authoritiesRule(read: readonly SecureBoot[]): SuggestedRule {
  const found = read.flatMap(({ authorities }) => authorities.map(namedAuthority))
  const entries = found.map(({ certificate, contents, commonName: name = 'no certificate' }) => ({
    entry: certificate === undefined ? { contents } : { certificate },
    name: shownText(name),
  }))
  const allowed = distinct(entries.map(({ entry }) => entry))
  const names = distinct(entries.map(({ name }) => name)).join(', ')
  const why = `They verified what was started: ${names}. New versions by the same authorities go on being accepted.`
  return { rule: 'boot-authorities', allowed, why: why.slice(0, 2000) }
}

/** The images that were started, where no authority vouches for them. */
export function imageRules(known: Known): SuggestedRule[] {
  if (!isQuoted(known, 4)) return []
  try {
    const events = known.machines.flatMap((each) => provenEvents(each, known.bank, 4))
    if (events.length === 0) return []
    const allowed = distinct(events.map(({ digest }) => digest.toString('hex')))
    const why =
      'What firmware started, in any order. A new boot loader or kernel has another digest: add it before you update.'
    return [{ rule: 'digests', pcr: 4, allowed, why }]
  } catch (error) {
    return [valueRule(known, 4, refusalIn(error))]
  }
}

/** The words of command lines that GRUB, and that systemd-stub and systemd-boot gave. */
export function commandLineRules(known: Known): SuggestedRule[] {
  return [...grubRules(known), ...systemdRules(known)]
}

function grubRules(known: Known): SuggestedRule[] {
  const { bank, machines } = known
  if (!isQuoted(known, 8) || isUntouched(known, 8)) return []
  try {
    const lines = machines.map((each) => grubLines(provenEvents(each, bank, 8), bank))
    if (lines.some((each) => each.length === 0)) {
      return [valueRule(known, 8, 'Not all machines have a command line there.')]
    }
    const why =
      'The words that GRUB gave the kernel, of any kernel. Who is root can start a signed kernel without GRUB and pretend this line: a rule values of PCR 4 prevents that, and has to be kept up with updates.'
    return [{ rule: 'kernel-command-line', from: 'grub', allowed: patternsOf(lines), why }]
  } catch (error) {
    return [valueRule(known, 8, refusalIn(error))]
  }
}

function systemdRules(known: Known): SuggestedRule[] {
  const { bank, machines } = known
  if (!isQuoted(known, 12) || (isUntouched(known, 11) && isUntouched(known, 12))) return []
  try {
    const events = machines.map((each) => provenEvents(each, bank, 12))
    const others = distinct(
      events
        .flat()
        .filter((event) => systemdString(event, bank) === undefined)
        .map(({ digest }) => digest.toString('hex')),
    )
    const lines = events.map((each) => systemdLines(each, bank, others))
    const why =
      'What was added to the command line within the signed image. An empty list: nothing. Digests in others are of credentials and the like.'
    const rest = others.length === 0 ? {} : { others }
    return [
      { rule: 'kernel-command-line', from: 'systemd', allowed: patternsOf(lines), ...rest, why },
    ]
  } catch (error) {
    return [valueRule(known, 12, refusalIn(error))]
  }
}

/** A PCR by its values, of all machines. */
export function valueRule({ bank, machines }: Known, pcr: number, reason: string): SuggestedRule {
  const values = machines.map(({ quoted }) => quoted.get(bank)?.get(pcr)?.toString('hex') ?? '')
  const why = `${reason} So only its value can be compared, which is another one after an update.`
  return { rule: 'values', pcr, allowed: distinct(values), why }
}

export function isQuoted({ bank, machines }: Known, pcr: number): boolean {
  return machines.every(({ quoted }) => quoted.get(bank)?.has(pcr) === true)
}

/** Whether nothing was measured into it, on any machine. */
export function isUntouched({ bank, machines }: Known, pcr: number): boolean {
  return machines.every(({ quoted }) =>
    (quoted.get(bank)?.get(pcr) ?? Buffer.alloc(0)).every((byte) => byte === 0),
  )
}

const PATTERN_CHARACTERS_MAX = 256
/** With a `*` for it at the beginning or end, `init=é` would allow each `init=`, and `*` everything. A blank within is one. */
const NOT_TO_BE_NAMED = /\*|[^\x20-\x7e]|^ | $/

/** @param machines the lines of each */
function patternsOf(machines: readonly (readonly KernelLine[])[]): string[] {
  const words = distinct(
    machines.flatMap((lines) => lines.flatMap(({ text }) => kernelWords(text))),
  )
  const odd = words.find((word) => NOT_TO_BE_NAMED.test(word))
  if (odd !== undefined) refusePolicy(`the word ${shownText(odd)}, which no pattern names alone`)
  const byName = groupedBy(words, (word) => word.slice(0, word.indexOf('=') + 1))
  return [...byName].flatMap(([name, same]) => {
    // Which file it was says less than who signed it.
    if (name === 'BOOT_IMAGE=') return [`${name}*`]
    const isOfMachine =
      name !== '' && same.length > 1 && machines.every((lines) => countOf(lines, name) === 1)
    return isOfMachine ? [patternOfAll(same)] : same.map(plainPattern)
  })
}

/** How many values of this name one command line has, at most. */
function countOf(lines: readonly KernelLine[], name: string): number {
  const counts = lines.map(
    ({ text }) => kernelWords(text).filter((word) => word.startsWith(name)).length,
  )
  return Math.max(0, ...counts)
}

/** What the words begin with in common, up to a character that ends a part, and anything. */
function patternOfAll(words: readonly string[]): string {
  const [first = ''] = words
  let end = 0
  while (end < first.length && words.every((word) => word[end] === first[end])) end += 1
  return plainPattern(`${first.slice(0, end).replace(/[A-Za-z0-9]+$/, '')}*`)
}

/** A word as a pattern of itself: `*` stands for what a pattern cannot have. */
function plainPattern(word: string): string {
  const plain = word.replaceAll(/[^\x21-\x7e]+/g, '*')
  return plain.length > PATTERN_CHARACTERS_MAX
    ? `${plain.slice(0, PATTERN_CHARACTERS_MAX - 1)}*`
    : plain
}

function refusalIn(error: unknown): string {
  if (!(error instanceof MetabindError)) throw error
  return error.detail ?? error.message
}

/** Each once, in the order in which they come; things are compared as JSON. */
function distinct<T>(things: readonly T[]): T[] {
  return [...new Map(things.map((thing) => [JSON.stringify(thing), thing])).values()]
}
