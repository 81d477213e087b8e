import { createHash } from 'node:crypto'
import { kernelParameters, kernelWordPattern, kernelWords } from '../format/kernel-command-line.ts'
import { shownText } from '../format/shown-text.ts'
import { imageHashesIn } from '../format/uefi-variable.ts'
import { fitsPattern } from '../format/word-pattern.ts'
import { authorityInWords, isAllowed, namedAuthority } from './authority.ts'
import { grubLines, KERNEL_LINE_PCRS, type KernelLine, systemdLines } from './kernel-lines.ts'
import type { PcrPolicy, PolicyBank, PolicyRule } from './pcr-policy.ts'
import { signedEntry } from './pcr-signature.ts'
import { type Measurements, provenEvents, refusePolicy } from './proven-events.ts'
import { readSecureBoot, type SecureBoot } from './secure-boot.ts'

type Rule<Name extends PolicyRule['rule']> = Extract<PolicyRule, { readonly rule: Name }>

/**
 * Every rule of the policy holds.
 *
 * @param measurements of which the values were found to be the quoted ones
 * @returns what each rule found, in words
 * @throws MetabindError VERIFY_PCR_POLICY with the rule, what was expected and what was found
 */
export function requireRules({ rules }: PcrPolicy, measurements: Measurements): string[] {
  return rules.map((rule) => requireRule(rule, measurements))
}

function requireRule(rule: PolicyRule, measurements: Measurements): string {
  switch (rule.rule) {
    case 'values':
      return requireValue(rule, measurements)
    case 'digests':
      return requireDigests(rule, measurements)
    case 'secure-boot':
      requireSecureBoot(secureBootOf(rule.bank, measurements))
      return 'Secure Boot is on'
    case 'signature-database':
      return requireDatabase(rule, measurements)
    case 'boot-authorities':
      return requireAuthorities(rule, measurements)
    case 'kernel-command-line':
      return requireCommandLine(rule, measurements)
    case 'signed-pcrs':
      return requireSigned(rule, measurements)
  }
}

function requireValue({ bank, pcr, allowed }: Rule<'values'>, { quoted }: Measurements): string {
  const value = quoted.get(bank)?.get(pcr)?.toString('hex')
  if (value === undefined) refusePolicy(`${bank} PCR ${pcr} is not quoted`)
  if (!allowed.includes(value)) refusePolicy(`${bank} PCR ${pcr} is ${value}; ${oneOf(allowed)}`)
  return `${bank} PCR ${pcr} is ${value}`
}

/** Types are not asked: what was measured is what extended the PCR. */
function requireDigests(rule: Rule<'digests'>, measurements: Measurements): string {
  const { bank, pcr, allowed } = rule
  const events = provenEvents(measurements, bank, pcr)
  const known = new Set(allowed)
  for (const { number, digest } of events) {
    const found = digest.toString('hex')
    if (!known.has(found))
      refusePolicy(`event ${number} of PCR ${pcr} is ${found}; ${oneOf(allowed)}`)
  }
  if (events.length === 0) refusePolicy(`nothing was measured into PCR ${pcr}`)
  return `events of PCR ${pcr}: ${events.length}, each with an allowed digest`
}

function secureBootOf(bank: PolicyBank, measurements: Measurements): SecureBoot {
  return readSecureBoot(provenEvents(measurements, bank, 7), bank)
}

function requireSecureBoot({ isOn, isShimOff, isDebugged }: SecureBoot): void {
  if (!isOn) refusePolicy('Secure Boot is off; expected: on')
  if (isShimOff) refusePolicy('shim verified nothing (MokSBState); expected: that it does')
  if (isDebugged) refusePolicy('the firmware was being debugged; expected: no debugger')
}

function requireDatabase(rule: Rule<'signature-database'>, measurements: Measurements): string {
  const { database, allowed, contains = [] } = rule
  const contents = secureBootOf(rule.bank, measurements).databases.get(database)
  if (contents === undefined) refusePolicy(`no ${database} was measured`)
  const digest = createHash('sha256').update(contents).digest('hex')
  if (allowed !== undefined && !allowed.includes(digest)) {
    refusePolicy(`${database} is ${digest}; ${oneOf(allowed)}`)
  }
  const hashes = contains.length === 0 ? new Set<string>() : imageHashesIn(contents)
  if (hashes === undefined) refusePolicy(`${database} is malformed`)
  const missing = contains.find((hash) => !hashes.has(hash))
  if (missing !== undefined) refusePolicy(`${database} does not have ${missing}`)
  return `${database} is ${digest}`
}

/** With Secure Boot off firmware verifies nothing, and who runs later can make up authorities. */
function requireAuthorities(rule: Rule<'boot-authorities'>, measurements: Measurements): string {
  const secureBoot = secureBootOf(rule.bank, measurements)
  requireSecureBoot(secureBoot)
  const names = secureBoot.authorities.map((authority) => {
    const found = namedAuthority(authority)
    if (!isAllowed(found, rule.allowed)) {
      const expected = oneOf(rule.allowed.map((one) => shownText(Object.values(one).join())))
      refusePolicy(`event ${authority.event} of PCR 7 is ${authorityInWords(found)}; ${expected}`)
    }
    return found.commonName ?? found.contents
  })
  if (names.length === 0) refusePolicy('no authority verified anything')
  return `verified by ${names.map(shownText).join(', ')}`
}

function requireCommandLine(rule: Rule<'kernel-command-line'>, measurements: Measurements): string {
  const { bank, from, others = [] } = rule
  const events = provenEvents(measurements, bank, KERNEL_LINE_PCRS[from])
  const lines = from === 'grub' ? grubLines(events, bank) : systemdLines(events, bank, others)
  // GRUB always gives one. Without one of systemd's the signed image has its own within.
  if (from === 'grub' && lines.length === 0) refusePolicy('GRUB measured no kernel command line')
  for (const line of lines) requireWords(rule, line)
  if (from === 'grub') for (const line of lines) requireAllOf(rule, [line])
  else requireAllOf(rule, lines)
  return `kernel command line: ${lines.map(({ text }) => shownText(text)).at(-1) ?? 'none'}`
}

function requireWords(rule: Rule<'kernel-command-line'>, { event, text }: KernelLine): void {
  const { allowed, forbidden = [] } = rule
  const of = `in event ${event} of PCR ${KERNEL_LINE_PCRS[rule.from]}`
  for (const word of kernelWords(text)) {
    const not = patternFor(word, forbidden)
    if (not !== undefined) refusePolicy(`the word ${shownText(word)} ${of}, which ${not} forbids`)
    if (allowed !== undefined && patternFor(word, allowed) === undefined) {
      refusePolicy(`the word ${shownText(word)} ${of}; ${oneOf(allowed)}`)
    }
  }
}

function requireAllOf(rule: Rule<'kernel-command-line'>, lines: readonly KernelLine[]): void {
  const words = lines.flatMap(({ text }) => kernelParameters(text))
  for (const wanted of rule.required ?? []) {
    if (words.some((word) => patternFor(word, [wanted]) !== undefined)) continue
    const of = lines.length === 1 ? `event ${lines[0]?.event}` : 'all events'
    refusePolicy(`no word ${wanted} in ${of} of PCR ${KERNEL_LINE_PCRS[rule.from]}`)
  }
}

function requireSigned(
  { bank, pcrs, key, ref }: Rule<'signed-pcrs'>,
  { quoted, signatures }: Measurements,
): string {
  const of = `${bank} PCR ${pcrs.join(', ')}`
  const missing = pcrs.find((pcr) => quoted.get(bank)?.has(pcr) !== true)
  if (missing !== undefined) refusePolicy(`${bank} PCR ${missing} is not quoted`)
  if (signatures.length === 0) refusePolicy(`no signatures of ${of} were given (--pcr-signatures)`)
  for (const each of signatures) {
    const entry = signedEntry(each, quoted, { bank, pcrs, key, ref })
    if (entry !== undefined) return `${of} is signed: entry ${entry} of ${bank}`
  }
  return refusePolicy(`no signature of the key that the rule names is of the quoted ${of}`)
}

function patternFor(word: string, patterns: readonly string[]): string | undefined {
  return patterns.find((pattern) => fitsPattern(word, kernelWordPattern(pattern)))
}

const SHOWN_MAX = 4

function oneOf(allowed: readonly string[]): string {
  const shown = allowed.slice(0, SHOWN_MAX).join(', ')
  const more = allowed.length > SHOWN_MAX ? ` or ${allowed.length - SHOWN_MAX} more` : ''
  return `expected: ${shown === '' ? 'none' : shown}${more}`
}
