import { decodeEvidence } from '../format/evidence.ts'
import { POLICY_BANKS, POLICY_FORMAT, parsePcrPolicy } from '../measurements/pcr-policy.ts'
import { requireRules } from '../measurements/policy-rules.ts'
import type { Measurements } from '../measurements/proven-events.ts'
import {
  commandLineRules,
  imageRules,
  isQuoted,
  isUntouched,
  type Known,
  type SuggestedRule,
  secureBootRules,
  valueRule,
} from '../measurements/suggested-rules.ts'
import { type VerifyOptions, verifiedSubject } from './verify.ts'
import { inCheck, VerifyError } from './verify-error.ts'

/** What known good evidence is checked against: each against the nonce that it has itself. */
export type SuggestOptions = Pick<VerifyOptions, 'trust' | 'now' | 'ekInstance'>

/**
 * Makes a PCR policy from evidence of machines that are known to be good: a policy that accepts each of them, by what was
 * measured where that can be read, and by values where not. Every rule has a `why`.
 *
 * The evidence is verified, but is not shown to be new, nor its AK to be in a TPM: that it is good is the caller's word.
 *
 * @param evidence one document or several, of machines that the policy will be for
 * @returns the policy as JSON text, to be read and then saved
 * @throws VerifyError if one is refused, or VERIFY_PCR_SELECTION if they have no bank in common
 */
export function suggestPcrPolicy(evidence: readonly Uint8Array[], options: SuggestOptions): string {
  const machines = evidence.map((bytes) => measurementsOf(bytes, options))
  const bank = POLICY_BANKS.find((name) => machines.every(({ quoted }) => quoted.has(name)))
  if (bank === undefined || machines.length === 0) {
    throw new VerifyError('VERIFY_PCR_SELECTION', 'suggest policy', 'No bank is quoted in all.')
  }
  const known = { bank, machines }
  const rules = rulesFor(known)
  const policy = {
    format: POLICY_FORMAT,
    version: 2,
    revision: 1,
    why: leftOut(known, rules),
    bank,
    rules,
  }
  const text = `${JSON.stringify(policy, null, 2)}\n`
  // What it was made of must satisfy it.
  inCheck('suggest policy', () => {
    const parsed = parsePcrPolicy(Buffer.from(text))
    for (const each of machines) requireRules(parsed, each)
  })
  return text
}

function measurementsOf(bytes: Uint8Array, options: SuggestOptions): Measurements {
  const { nonce } = inCheck('format', () => decodeEvidence(bytes))
  const { trust, now, ekInstance } = options
  const asked = { trust, now, ekInstance, nonce, allowProvisional: true }
  const { shownPcrs, replayedLogs } = verifiedSubject(bytes, asked)
  return { quoted: shownPcrs, replayed: replayedLogs().pcrs, signatures: [] }
}

function rulesFor(known: Known): SuggestedRule[] {
  const boot = secureBootRules(known)
  // What authorities vouch for may be replaced by its next version.
  const images = boot.some(({ rule }) => rule === 'boot-authorities') ? [] : imageRules(known)
  const rules = [...boot, ...images, ...commandLineRules(known)]
  if (isQuoted(known, 0)) {
    rules.unshift(valueRule(known, 0, 'The firmware says of its own code only the digests.'))
  }
  if (isQuoted(known, 11) && !isUntouched(known, 11)) {
    const reason =
      'The unified kernel image and how far it had started. A rule signed-pcrs survives updates.'
    rules.push(valueRule(known, 11, reason))
  }
  return rules
}

function leftOut({ bank, machines }: Known, rules: readonly SuggestedRule[]): string {
  const ruled = new Set(rules.flatMap((rule) => PCRS_OF[rule.rule]?.(rule) ?? []))
  const quoted = [...(machines[0]?.quoted.get(bank)?.keys() ?? [])]
  const others = quoted.filter((pcr) => !ruled.has(pcr)).join(', ')
  return `Suggested from evidence of ${machines.length} that are known to be good. Read each rule. PCRs that are quoted and not ruled: ${others === '' ? 'none' : others}. Sign it, and raise revision with each change.`
}

/** Which PCRs a rule is about. */
const PCRS_OF: Readonly<Record<string, (rule: SuggestedRule) => number[]>> = {
  values: ({ pcr }) => [Number(pcr)],
  digests: ({ pcr }) => [Number(pcr)],
  'secure-boot': () => [7],
  'boot-authorities': () => [7],
  'kernel-command-line': ({ from }) => [from === 'grub' ? 8 : 12],
}
