import { requireRules } from '../measurements/policy-rules.ts'
import { remembered } from '../remembered.ts'
import type { Subject } from './subject.ts'

/**
 * Every rule of the policy that was demanded holds. The check and the result ask for it.
 *
 * @param subject its PCR values were found to be the quoted ones
 * @returns what each rule found, in words
 * @throws MetabindError VERIFY_PCR_POLICY with the rule, what was expected and what was found
 */
export const policyFindings = remembered((subject: Subject): readonly string[] => {
  const { demands, shownPcrs, replayedLogs } = subject
  const { pcrPolicy, pcrSignatures } = demands
  if (pcrPolicy === undefined) return []
  const signatures = pcrSignatures === undefined ? [] : [pcrSignatures]
  return requireRules(pcrPolicy, { quoted: shownPcrs, replayed: replayedLogs().pcrs, signatures })
})
