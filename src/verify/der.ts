import { MetabindError } from '../errors.ts'

/**
 * A strict walk over DER (X.690, 10) before any library parses it. The libraries accept BER: lengths
 * that are indefinite or padded, and nesting without a limit. Hostile bytes are refused here, in
 * linear time, so that what was signed has one reading only.
 */

/** One element: its tag byte, all of its bytes, and the elements in it if it is constructed. */
export interface DerNode {
  readonly tag: number
  readonly bytes: Buffer
  readonly content: Buffer
  readonly children: readonly DerNode[]
}

const DEPTH_MAX = 16
const CONSTRUCTED = 0x20
const HIGH_TAG = 0x1f

/**
 * Takes apart exactly one DER element.
 *
 * @throws MetabindError VERIFY_CERTIFICATE
 */
export function parseDer(bytes: Uint8Array): DerNode {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const node = readNode(buffer, 0)
  if (node.bytes.length !== buffer.length) malformed('bytes follow the end')
  return node
}

function readNode(buffer: Buffer, depth: number): DerNode {
  if (depth > DEPTH_MAX) malformed(`nested deeper than ${DEPTH_MAX}`)
  if (buffer.length < 2) malformed('truncated')
  const tag = buffer.readUInt8(0)
  if ((tag & HIGH_TAG) === HIGH_TAG) malformed('a tag of several bytes')
  const { start, end } = readLength(buffer)
  if (end > buffer.length) malformed('truncated')
  const content = buffer.subarray(start, end)
  const children = (tag & CONSTRUCTED) === 0 ? [] : readChildren(content, depth + 1)
  return { tag, bytes: buffer.subarray(0, end), content, children }
}

function readChildren(content: Buffer, depth: number): DerNode[] {
  const children: DerNode[] = []
  let rest = content
  while (rest.length > 0) {
    const child = readNode(rest, depth)
    children.push(child)
    rest = rest.subarray(child.bytes.length)
  }
  return children
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
