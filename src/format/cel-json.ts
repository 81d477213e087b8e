import { bytesOfHex, celEvent, ofLog } from './cel-event.ts'
import type { PcrEvent } from './pcr-event.ts'
import { refuseLog } from './pcrs.ts'
import { parseStrictJson } from './strict-json.ts'

/** Reads CEL-JSON (TCG Canonical Event Log Format 1.0): an array of records, byte strings in hex. */

/** Of contents, by the names of their members. */
const BYTE_MEMBERS: readonly string[] = ['event_data', 'template_data']

/** @throws MetabindError VERIFY_EVENT_LOG if it is malformed */
export function parseCelJson(log: Uint8Array): PcrEvent[] {
  const records = ofLog(() => parseStrictJson(log))
  if (!Array.isArray(records)) refuseLog('no array of records')
  return records.flatMap((record: unknown) => celEvent(withBytes(record)) ?? [])
}

function withBytes(record: unknown): unknown {
  if (!isObject(record)) return record
  const { digests, content } = record
  return {
    ...record,
    digests: Array.isArray(digests) ? digests.map(digestWithBytes) : digests,
    content: contentWithBytes(content),
  }
}

function digestWithBytes(digest: unknown): unknown {
  return isObject(digest) ? { ...digest, digest: bytesOfHex(digest.digest) } : digest
}

function contentWithBytes(content: unknown): unknown {
  if (!isObject(content)) return content
  const members = Object.entries(content).map(([name, value]) => [
    name,
    BYTE_MEMBERS.includes(name) ? bytesOfHex(value) : value,
  ])
  return Object.fromEntries(members)
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
