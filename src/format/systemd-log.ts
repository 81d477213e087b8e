import { z } from 'zod'
import { hexOf } from './algorithms.ts'
import { bytesOfHex, digestsOf, ofLog } from './cel-event.ts'
import type { PcrEvent } from './pcr-event.ts'
import { refuseLog } from './pcrs.ts'
import { parseStrictJson } from './strict-json.ts'
import { PCR_MAX } from './tpm-pcr-selection.ts'

/**
 * Reads what systemd measured after the firmware: /run/log/systemd/tpm2-measure.log (tpm2-util.c and
 * measurement-log.c of systemd from 255 on, and its docs/TPM2_PCR_MEASUREMENTS.md). It is a text sequence (RFC 7464)
 * of records near to CEL's: no record numbers, and content of its own. A record without a PCR is of an NvPCR.
 */

const RECORD_SEPARATOR = 0x1e
const RECORDS_MAX = 4096
const NAME_CHARACTERS_MAX = 64

const recordSchema = z.object({
  pcr: z.int().min(0).max(PCR_MAX).optional(),
  nv_index: z.int().min(0).max(0xffff_ffff).optional(),
  digests: z.array(z.object({ hashAlg: z.string(), digest: z.string() })).max(16),
  content_type: z.literal('systemd'),
  content: z.object({
    /** What was hashed, unless it was a secret, was too long, or has bytes that are no text. */
    string: z.string().optional(),
    eventType: z.string().optional(),
    nvIndexName: z.string().max(NAME_CHARACTERS_MAX).optional(),
  }),
})

/** @throws MetabindError VERIFY_EVENT_LOG if it is malformed */
export function parseSystemdLog(log: Uint8Array): PcrEvent[] {
  const records = recordsIn(Buffer.from(log.buffer, log.byteOffset, log.byteLength))
  return records.map((record) => eventOf(ofLog(() => recordSchema.parse(parseStrictJson(record)))))
}

function eventOf({ pcr, nv_index, digests, content }: z.output<typeof recordSchema>): PcrEvent {
  const handle = nv_index === undefined ? 'unnamed' : hexOf(nv_index, 8)
  const listed = digests.map(({ hashAlg, digest }) => ({ hashAlg, digest: bytesOfHex(digest) }))
  return {
    log: 'systemd',
    pcr,
    nvIndex: pcr === undefined ? (content.nvIndexName ?? handle) : undefined,
    type: content.eventType ?? '',
    digests: digestsOf(listed),
    data: Buffer.from(content.string ?? ''),
  }
}

/** Each record stands behind a separator. What stands behind the last may be half of one: the caller parses it. */
function recordsIn(log: Buffer): Buffer[] {
  if (log.length > 0 && log[0] !== RECORD_SEPARATOR) refuseLog('no sequence of records')
  const records: Buffer[] = []
  for (let at = 0; at < log.length; ) {
    if (records.length === RECORDS_MAX) refuseLog('too many records')
    const next = log.indexOf(RECORD_SEPARATOR, at + 1)
    const end = next === -1 ? log.length : next
    records.push(log.subarray(at + 1, end))
    at = end
  }
  return records
}
