import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { describe } from '../format/evidence.ts'
import { parseStrictJson } from '../format/strict-json.ts'
import { type ClockReading, clockProgress, isProgress } from '../format/tpm-clock.ts'
import { REVISION_MAX } from '../measurements/pcr-policy.ts'

/**
 * What a verifier keeps of the last evidence that it accepted of an instance. All of it stays or moves on: what
 * does not says that this is another machine, or an older state of it.
 */

const name = z.string().regex(/^(?:[0-9a-f]{2}){4,66}$/)
const counter = z.int().min(0).max(0xffff_ffff)
const recordSchema = z.strictObject({
  format: z.literal('metabind verification record'),
  version: z.literal(1),
  instanceId: z.string().regex(/^[A-Za-z0-9._-]{1,128}$/),
  /** Names of the keys, in hex. */
  ekName: name,
  akName: name,
  rkName: name,
  /** Since when the EK certificate is valid, in milliseconds since 1970; left out if the EK is pinned. */
  certifiedFromMs: z.int().optional(),
  /** Of the TPM at that time. */
  clockMs: z.int().min(0),
  resetCount: counter,
  restartCount: counter,
  /** The highest revision of a PCR policy that it satisfied; left out if there was none. */
  policyRevision: z.int().min(1).max(REVISION_MAX).optional(),
})

export type VerificationRecord = Readonly<z.output<typeof recordSchema>>

/** @throws RangeError if it is none: a comparison with it would hold for everything */
export function requireRecord(record: VerificationRecord): VerificationRecord {
  if (!recordSchema.safeParse(record).success) throw new RangeError('`last` is no record')
  return record
}

/** The record as JSON text, one line. */
export function encodeRecord(record: VerificationRecord): string {
  return `${JSON.stringify(record)}\n`
}

/** @throws MetabindError VERIFY_FORMAT */
export function decodeRecord(bytes: Uint8Array): VerificationRecord {
  const parsed = recordSchema.safeParse(parseStrictJson(bytes))
  if (!parsed.success) throw new MetabindError('VERIFY_FORMAT', describe(parsed.error))
  return parsed.data
}

/**
 * Compares evidence with the last of the same instance.
 *
 * @throws MetabindError VERIFY_RECORD if the record is of another machine, VERIFY_REINSTALLED, VERIFY_CLONED,
 *   VERIFY_ROLLED_BACK
 */
export function requireContinuity(
  last: VerificationRecord,
  now: VerificationRecord & Pick<ClockReading, 'safe'>,
): void {
  const isSameTpm = last.ekName === now.ekName
  if (last.instanceId !== now.instanceId) {
    if (!isSameTpm) throw new MetabindError('VERIFY_RECORD')
    throw new MetabindError('VERIFY_CLONED', `Its TPM was that of ${last.instanceId}.`)
  }
  if (!isSameTpm) throw new MetabindError('VERIFY_REINSTALLED', 'It has another TPM.')
  // Of the endorsement hierarchy TPM2_Clear leaves the EK alone (TPM 2.0 Part 3, 24.6: ehProof changes).
  if (last.akName !== now.akName || last.rkName !== now.rkName) {
    throw new MetabindError('VERIFY_REINSTALLED', 'Its TPM was cleared.')
  }
  if ((now.certifiedFromMs ?? 0) < (last.certifiedFromMs ?? 0)) {
    throw new MetabindError('VERIFY_ROLLED_BACK', 'It shows an earlier EK certificate.')
  }
  const change = clockProgress(last, now)
  if (isProgress(change)) return
  if (change === 'behind')
    throw new MetabindError('VERIFY_CLONED', 'Its clock stands or is behind.')
  throw new MetabindError('VERIFY_ROLLED_BACK', 'Its TPM is of an earlier state.')
}
