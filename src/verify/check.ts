import { MetabindError, type VerifyCode } from '../errors.ts'
import type { Subject } from './subject.ts'

/** One check of evidence. What runs before it has held; what comes after is still the sender's word. */
export interface Check {
  readonly name: string
  /** What it refuses with. */
  readonly codes: readonly VerifyCode[]
  readonly run: (subject: Subject) => void
}

export function refuseUnless(isGood: boolean, code: VerifyCode, detail?: string): void {
  if (!isGood) throw new MetabindError(code, detail)
}
