import { hash } from 'node:crypto'
import { hashBytes, STRONG_HASHES } from '../format/algorithms.ts'
import { groupedBy } from '../format/grouped.ts'
import type { PcrEvent } from '../format/pcr-event.ts'

/**
 * NV indices of type extend that systemd uses like PCRs (its NvPCRs). TPM2_Quote says nothing of them: what the
 * log tells is the instance's word, and so is the value that it leads to.
 */
export interface LoggedNvPcr {
  /** Its name, or its handle in hex. */
  readonly nvIndex: string
  readonly events: number
  /** What the index would hold, in hex: each event extends the value by its digest, from zeros on. */
  readonly value: string
}

/** @returns one entry for each NV index that events name, in the order in which they first do */
export function loggedNvPcrs(events: readonly PcrEvent[]): LoggedNvPcr[] {
  return [...groupedBy(events, ({ nvIndex }) => nvIndex)].flatMap(([nvIndex, ofIndex]) => {
    if (nvIndex === undefined) return []
    return [{ nvIndex, events: ofIndex.length, value: valueAfter(ofIndex).toString('hex') }]
  })
}

function valueAfter(events: readonly PcrEvent[]): Buffer {
  const bank = [...(events[0]?.digests.keys() ?? [])][0] ?? STRONG_HASHES[0]
  const first = Buffer.alloc(hashBytes(bank))
  return events.reduce((value, { digests }) => {
    const digest = digests.get(bank)
    return digest === undefined ? value : hash(bank, Buffer.concat([value, digest]), 'buffer')
  }, first)
}
