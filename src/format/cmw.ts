import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { EVIDENCE_BYTES_MAX } from './evidence.ts'
import { encodeCbor, parseStrictCbor } from './strict-cbor.ts'
import { parseStrictJson } from './strict-json.ts'

/**
 * Evidence in a RATS Conceptual Message Wrapper (RFC 9999, 3.1): an array of a media type and the document, as
 * JSON or CBOR. A Tag CMW (3.2) needs a number that is registered for the type, which ours has not; a collection
 * (3.3) could hold several documents, of which nobody would know which is meant.
 */

export const EVIDENCE_MEDIA_TYPE = 'application/vnd.metabind.evidence+json'
/** The bit for Evidence in the indicator (3.1.1), which may be left out where the type says it. */
const EVIDENCE_INDICATOR = 4
/** In base64 a document is a third longer. */
const WRAPPED_BYTES_MAX = Math.ceil((EVIDENCE_BYTES_MAX * 4) / 3) + 256

export const WRAPPERS = ['cmw-json', 'cmw-cbor'] as const
export type Wrapper = (typeof WRAPPERS)[number]

const recordSchema = z.union([
  z.tuple([z.literal(EVIDENCE_MEDIA_TYPE), z.unknown()]),
  z.tuple([z.literal(EVIDENCE_MEDIA_TYPE), z.unknown(), z.literal(EVIDENCE_INDICATOR)]),
])

/** @param evidence the document, as its JSON text */
export function wrapDocument(evidence: Uint8Array, wrapper: Wrapper): Buffer {
  if (wrapper === 'cmw-cbor') return encodeCbor([EVIDENCE_MEDIA_TYPE, evidence])
  const value = Buffer.from(evidence).toString('base64url')
  return Buffer.from(`${JSON.stringify([EVIDENCE_MEDIA_TYPE, value])}\n`)
}

/**
 * The document in a wrapper, or what is in none as it is. The first byte says which: no document begins with `[`
 * or with what begins an array, a map or a tag in CBOR.
 *
 * @returns what is there in place of a document, not looked at
 * @throws MetabindError VERIFY_SIZE, VERIFY_WRAPPER
 */
export function unwrapDocument(bytes: Uint8Array): Uint8Array {
  const first = bytes.find((byte) => !JSON_BLANKS.has(byte)) ?? 0
  const isCbor = (bytes[0] ?? 0) >= CBOR_ARRAY && (bytes[0] ?? 0) < CBOR_AFTER_TAGS
  if (!isCbor && first !== JSON_ARRAY) return bytes
  if (bytes.length > WRAPPED_BYTES_MAX) throw new MetabindError('VERIFY_SIZE')
  const record = recordSchema.safeParse(parseRecord(bytes, isCbor))
  if (!record.success) throw new MetabindError('VERIFY_WRAPPER')
  return bytesIn(record.data[1], isCbor)
}

const JSON_BLANKS: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d])
const JSON_ARRAY = 0x5b
const CBOR_ARRAY = 0x80
const CBOR_AFTER_TAGS = 0xdc

function parseRecord(bytes: Uint8Array, isCbor: boolean): unknown {
  try {
    return isCbor ? parseStrictCbor(bytes) : parseStrictJson(bytes)
  } catch (error) {
    const detail = error instanceof MetabindError ? error.detail : undefined
    throw new MetabindError('VERIFY_WRAPPER', detail, error)
  }
}

function bytesIn(value: unknown, isCbor: boolean): Uint8Array {
  if (isCbor && value instanceof Uint8Array) return value
  if (isCbor || typeof value !== 'string') throw new MetabindError('VERIFY_WRAPPER')
  const decoded = Buffer.from(value, 'base64url')
  if (decoded.toString('base64url') !== value) {
    throw new MetabindError('VERIFY_WRAPPER', 'Its value is not base64url.')
  }
  return decoded
}
