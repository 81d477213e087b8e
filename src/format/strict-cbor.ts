import { decode, encode, Tagged } from 'cborg'
import { MetabindError } from '../errors.ts'

// The structures have at most six arrays, maps and tags within one another.
const DEPTH_MAX = 8
const [BYTES, TEXT, ARRAY, MAP, TAG] = [2, 3, 4, 5, 6]
/** In their order, not sorted: what is compared keeps the order that it came in. */
const UNSORTED = { mapSorter: () => 0 }

export { Tagged as CborTagged }

/** Encodes values, Maps, byte strings and CborTagged as CBOR (RFC 8949) in its shortest form. */
export function encodeCbor(value: unknown): Buffer {
  return Buffer.from(encode(value, UNSORTED))
}

/**
 * CBOR of hostile origin, with one reading only: of definite lengths, each number and length in its shortest form
 * (RFC 8949, 4.2.1), no key twice, none but numbers and text, text in UTF-8, and nothing behind it. Maps may have
 * any order.
 *
 * @param tags that may stand in it
 * @returns maps as Map, byte strings as Uint8Array, tags as CborTagged
 * @throws MetabindError VERIFY_FORMAT
 */
export function parseStrictCbor(bytes: Uint8Array, ...tags: readonly number[]): unknown {
  if (nestsDeeper(bytes)) malformed('It is nested too deeply.')
  const value = decoded(bytes, tags)
  // Only the one encoding of a value leads back to itself.
  if (!encodeCbor(value).equals(bytes)) malformed('It is CBOR of another form than the shortest.')
  if (hasOddKey(value)) malformed('A key is neither number nor text.')
  return value
}

/** Two keys that are bytes, arrays or maps are never one to a Map: one that stands twice would not be noticed. */
function hasOddKey(value: unknown): boolean {
  if (value instanceof Tagged) return hasOddKey(value.value)
  if (Array.isArray(value)) return value.some(hasOddKey)
  if (!(value instanceof Map)) return false
  return [...value].some(([key, member]) => typeof key === 'object' || hasOddKey(member))
}

function decoded(bytes: Uint8Array, tags: readonly number[]): unknown {
  try {
    return decode(bytes, {
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      useMaps: true,
      rejectDuplicateMapKeys: true,
      tags: Tagged.preserve(...tags),
    })
  } catch (error) {
    return malformed('It is not CBOR of one reading.', error)
  }
}

/** Looks at heads alone, one after the other: the decoder calls itself for each level. */
function nestsDeeper(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  /** How many items are still to come, outermost first. */
  const open: number[] = []
  for (let at = 0; at < bytes.length; ) {
    const head = headAt(view, at)
    // The decoder says what is wrong with it, and gets no deeper than here.
    if (head === undefined) return false
    at += head.bytes + (head.major === BYTES || head.major === TEXT ? head.argument : 0)
    const inside = itemsIn(head)
    if (inside > 0 && open.push(inside) > DEPTH_MAX) return true
    if (inside === 0) closeItem(open)
  }
  return false
}

interface Head {
  readonly major: number
  readonly argument: number
  readonly bytes: number
}

/** RFC 8949, 3. @returns undefined for an indefinite length and for what is none */
function headAt(view: DataView, at: number): Head | undefined {
  const first = view.getUint8(at)
  const [major, info] = [first >> 5, first & 31]
  if (info < 24) return { major, argument: info, bytes: 1 }
  const size = 2 ** (info - 24)
  if (info > 27 || at + 1 + size > view.byteLength) return undefined
  return { major, argument: argumentAt(view, at + 1, size), bytes: 1 + size }
}

function argumentAt(view: DataView, at: number, size: number): number {
  if (size === 1) return view.getUint8(at)
  if (size === 2) return view.getUint16(at)
  if (size === 4) return view.getUint32(at)
  return Number(view.getBigUint64(at))
}

function itemsIn({ major, argument }: Head): number {
  if (major === ARRAY) return argument
  if (major === MAP) return 2 * argument
  return major === TAG ? 1 : 0
}

/** An item has ended, and with it each one around it of which it was the last. */
function closeItem(open: number[]): void {
  while (open.length > 0) {
    const left = (open.pop() ?? 0) - 1
    if (left > 0) {
      open.push(left)
      return
    }
  }
}

function malformed(why: string, cause?: unknown): never {
  throw new MetabindError('VERIFY_FORMAT', why, cause)
}
