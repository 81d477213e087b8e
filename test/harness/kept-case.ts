import type { ResultCase } from './result-case.ts'
import type { VerifyCase } from './verify-case.ts'

/** What `./dev mutate` lets stay from one mutant to the next. Nothing of it is there in other runs of the tests. */
interface Kept {
  genuineCase?: Promise<VerifyCase>
  resultCase?: ResultCase
}

declare global {
  var keptBetweenMutants: Kept | undefined
  var __stryker__: { activeMutant?: string | undefined } | undefined
}

/** What is made while a mutant is there is not kept: it could be wrong for the next one. */
function keeper(): Kept | undefined {
  return globalThis.__stryker__?.activeMutant === undefined
    ? globalThis.keptBetweenMutants
    : undefined
}

/** The case that was made before in this worker of `./dev mutate`, TPM and all; elsewhere a new one. */
export function keptCase(make: () => Promise<VerifyCase>): Promise<VerifyCase> {
  const kept = keeper()
  if (kept === undefined) return make()
  kept.genuineCase ??= make()
  return kept.genuineCase
}

/** Whether others will be given it, and its TPM has to stay. */
export async function isKept(it: VerifyCase): Promise<boolean> {
  return (await globalThis.keptBetweenMutants?.genuineCase) === it
}

/** What was verified of that case before, in the same way. */
export function keptResultCase(make: () => ResultCase): ResultCase {
  const kept = keeper()
  if (kept === undefined) return make()
  kept.resultCase ??= make()
  return kept.resultCase
}
