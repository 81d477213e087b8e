import { MetabindError } from '../errors.ts'
import { nestsDeeperThan } from './json-depth.ts'

// The documents have at most four objects and arrays within one another.
const DEPTH_MAX = 8
const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a]

/**
 * JSON text of hostile origin, with one reading only. Of a member that stands twice one reader takes the
 * first and another the last (RFC 8259, 4), and a byte order mark is part of the text or not (8.1):
 * both are refused, as is what is not UTF-8.
 *
 * @throws MetabindError VERIFY_FORMAT
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (nestsDeeperThan(DEPTH_MAX, buffer)) malformed('It is nested too deeply.')
  const value = parse(buffer)
  if (membersOfText(buffer) !== membersOf(value)) malformed('A member stands twice.')
  return value
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (error) {
    return malformed('It is not JSON in UTF-8.', error)
  }
}

/** Each member has one colon outside of strings. */
function membersOfText(json: Buffer): number {
  let members = 0
  let isText = false
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at]
    if (byte === QUOTE) isText = !isText
    else if (isText && byte === BACKSLASH) at += 1
    else if (!isText && byte === COLON) members += 1
  }
  return members
}

function membersOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const inside: unknown[] = Object.values(value)
  const own = Array.isArray(value) ? 0 : inside.length
  return inside.reduce<number>((sum, each) => sum + membersOf(each), own)
}

function malformed(why: string, cause?: unknown): never {
  throw new MetabindError('VERIFY_FORMAT', why, cause)
}
