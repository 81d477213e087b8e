import { parseCelCbor } from './cel-cbor.ts'
import { parseCelJson } from './cel-json.ts'
import type { PcrEvent } from './pcr-event.ts'

/**
 * Reads a log in TCG's Canonical Event Log Format. The first byte says how it is encoded: an array of CBOR
 * begins with one that no text begins with.
 *
 * @throws MetabindError VERIFY_EVENT_LOG if it is malformed
 */
export function parseCel(log: Uint8Array): PcrEvent[] {
  return (log[0] ?? 0) >= 0x80 ? parseCelCbor(log) : parseCelJson(log)
}
