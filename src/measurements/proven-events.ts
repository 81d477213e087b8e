import { MetabindError } from '../errors.ts'
import type { TpmHash } from '../format/algorithms.ts'
import type { MeasuredEvent } from '../format/measured-event.ts'
import type { PcrValues } from './pcr-quote.ts'
import type { ReplayedPcr } from './pcr-replay.ts'
import type { PcrSignatures } from './pcr-signature.ts'

/** What a policy over events is asked about: a quote, and the events that explain it. */
export interface Measurements {
  /** Values whose digest the quote was found to carry. */
  readonly quoted: PcrValues
  /** From replayedPcrs, with the quoted values. */
  readonly replayed: readonly ReplayedPcr[]
  /** Signatures of values, of any origin. */
  readonly signatures: readonly PcrSignatures[]
}

/**
 * The events that a PCR was extended with, all of them and in their order: their digests lead to the quoted value. What
 * their types and data say is still the log's word, and types are left out here.
 *
 * @throws MetabindError VERIFY_PCR_POLICY if the PCR is not quoted, or no log leads to its value
 */
export function provenEvents(
  { quoted, replayed }: Measurements,
  bank: TpmHash['name'],
  pcr: number,
): readonly MeasuredEvent[] {
  if (quoted.get(bank)?.has(pcr) !== true) refusePolicy(`${bank} PCR ${pcr} is not quoted`)
  const found = replayed.find((each) => each.bank === bank && each.pcr === pcr)
  if (found === undefined) refusePolicy(`no log leads to ${bank} PCR ${pcr}`)
  return found.events.map(({ digests, data }, at) => {
    const digest = digests.get(bank)
    if (digest === undefined) refusePolicy(`event ${at + 1} of PCR ${pcr} has no digest of ${bank}`)
    return { number: at + 1, digest, data }
  })
}

/** @throws MetabindError VERIFY_PCR_POLICY always */
export function refusePolicy(why: string): never {
  throw new MetabindError('VERIFY_PCR_POLICY', `Found: ${why}.`)
}
