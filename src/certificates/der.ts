import { MetabindError } from '../errors.ts'

/**
 * A strict walk over DER (X.690, 10) before any library parses it. The libraries accept BER: lengths
 * that are indefinite or padded, and nesting without a limit. Hostile bytes are refused here, in
 * linear time, so that what was signed has one reading only.
 */

/** One element: its tag byte, all of its bytes, and what is in it. */
export interface DerElement {
  readonly tag: number
  readonly bytes: Buffer
  readonly content: Buffer
}

/** The same with the elements in it, if it is constructed. */
export interface DerNode extends DerElement {
  readonly children: readonly DerNode[]
}

const DEPTH_MAX = 16
const CONSTRUCTED = 0x20
const HIGH_TAG = 0x1f
const BOOLEAN = 0x01
const BIT_STRING = 0x03

/**
 * Takes apart exactly one DER element.
 *
 * @throws MetabindError VERIFY_CERTIFICATE
 */
export function parseDer(bytes: Uint8Array): DerNode {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const node = nodeOf(readElement(buffer), 0)
  if (node.bytes.length !== buffer.length) malformed('bytes follow the end')
  return node
}

/**
 * The elements that stand in the content of another one, and nothing of what is in them: for what has a
 * hundred thousand.
 *
 * @throws MetabindError VERIFY_CERTIFICATE
 */
export function* derElements(content: Buffer): Generator<DerElement> {
  for (let rest = content; rest.length > 0; ) {
    const element = readElement(rest)
    yield element
    rest = rest.subarray(element.bytes.length)
  }
}

function nodeOf(element: DerElement, depth: number): DerNode {
  if (depth > DEPTH_MAX) malformed(`nested deeper than ${DEPTH_MAX}`)
  const isConstructed = (element.tag & CONSTRUCTED) !== 0
  const inside = isConstructed ? derElements(element.content) : []
  return { ...element, children: Array.from(inside, (child) => nodeOf(child, depth + 1)) }
}

function readElement(buffer: Buffer): DerElement {
  if (buffer.length < 2) malformed('truncated')
  const tag = buffer.readUInt8(0)
  if ((tag & HIGH_TAG) === HIGH_TAG) malformed('a tag of several bytes')
  const { start, end } = readLength(buffer)
  if (end > buffer.length) malformed('truncated')
  const content = buffer.subarray(start, end)
  // X.690, 8.2.1. Of another length it is true for one reader and nothing for another.
  if (tag === BOOLEAN && content.length !== 1) malformed('a BOOLEAN of no single byte')
  if (tag === BIT_STRING) requireUnusedBits(content)
  return { tag, bytes: buffer.subarray(0, end), content }
}

/** X.690, 8.6.2 and 11.2.1. A bit that is set beyond the last one is set for one reader and not for another. */
function requireUnusedBits(content: Buffer): void {
  const [unused = 8] = content
  // Where there are no bits it is the count itself, of which no bit may be set then: it is 0.
  const last = content.at(-1) ?? 0
  const isRight = unused <= 7 && (last & ((1 << unused) - 1)) === 0
  if (!isRight) malformed('a BIT STRING with other unused bits than zeros')
}

function readLength(buffer: Buffer): { start: number; end: number } {
  const first = buffer.readUInt8(1)
  if (first < 0x80) return { start: 2, end: 2 + first }
  const bytes = first & 0x7f
  if (bytes === 0 || bytes > 3 || buffer.length < 2 + bytes) malformed('an unusable length')
  const length = buffer.readUIntBE(2, bytes)
  const isMinimal = length >= 0x80 && length >= 2 ** (8 * (bytes - 1))
  if (!isMinimal) malformed('a length that is not minimal')
  return { start: 2 + bytes, end: 2 + bytes + length }
}

function malformed(why: string): never {
  throw new MetabindError('VERIFY_CERTIFICATE', `DER: ${why}.`)
}
