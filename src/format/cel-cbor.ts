import { celEvent, ofLog } from './cel-event.ts'
import type { PcrEvent } from './pcr-event.ts'
import { refuseLog } from './pcrs.ts'
import { parseStrictCbor } from './strict-cbor.ts'

/** Reads CEL-CBOR (TCG Canonical Event Log Format 1.0): an array of maps whose keys are numbers. */

type Names = ReadonlyMap<unknown, string>

const RECORD: Names = new Map([
  [0, 'recnum'],
  [1, 'pcr'],
  [2, 'nv_index'],
  [3, 'digests'],
  [9, 'content_type'],
  [10, 'content'],
])
const DIGEST: Names = new Map([
  [0, 'hashAlg'],
  [1, 'digest'],
])
/** By content type. What is not here is shown as it is, and believed by nobody. */
const CONTENTS: ReadonlyMap<unknown, Names> = new Map([
  [
    4,
    new Map([
      [0, 'type'],
      [1, 'data'],
    ]),
  ],
  [
    5,
    new Map([
      [0, 'event_type'],
      [1, 'event_data'],
    ]),
  ],
  [
    7,
    new Map([
      [0, 'template_name'],
      [1, 'template_data'],
    ]),
  ],
])

/** @throws MetabindError VERIFY_EVENT_LOG if it is malformed */
export function parseCelCbor(log: Uint8Array): PcrEvent[] {
  const records: unknown = ofLog(() => parseStrictCbor(log))
  if (!Array.isArray(records)) refuseLog('no array of records')
  return records.flatMap((record: unknown) => celEvent(recordOf(record)) ?? [])
}

function recordOf(value: unknown): unknown {
  const record = named(value, RECORD)
  const { digests, content_type, content } = record
  const names = CONTENTS.get(content_type)
  return {
    ...record,
    digests: Array.isArray(digests) ? digests.map((digest) => named(digest, DIGEST)) : digests,
    content: names === undefined ? content : named(content, names),
  }
}

function named(value: unknown, names: Names): Record<string, unknown> {
  if (!(value instanceof Map)) refuseLog('a record that is no map')
  const members = [...value].map(([key, member]) => [names.get(key) ?? refuseLog('a key'), member])
  return Object.fromEntries(members)
}
