import { createHash } from 'node:crypto'

/**
 * The audit file: JSON lines, each the continuation of the one before.
 *
 *   {"seq":7,"prev":"<hash of line 6>","time":…,"event":…,…,"hash":"<SHA-256 of this line up to here>"}
 *
 * A line is ASCII. `hash` covers every byte of its line before `,"hash":`, `prev` among them; so it covers all lines
 * before, and no byte of a line is covered by nothing. Whoever can write the file can still compute
 * the rest of a chain again, or cut its end off: against that, checkpoints are signed in the TPM.
 */

/** The end of a chain: what its next line continues. */
export interface ChainHead {
  readonly seq: number
  /** Hash of the line with that number, in hex. */
  readonly hash: string
}

/** Before the first line. */
export const CHAIN_ORIGIN: ChainHead = { seq: 0, hash: '0'.repeat(64) }
/** Longest line written. The journal would break lines of 48 KiB in two (LineMax= of journald.conf(5)). */
export const LINE_BYTES_MAX = 32_768
/** Longest line read: one is still a line that was written when the bound was another. */
export const LINE_READ_BYTES_MAX = 1_048_576

/** What is wrong with a line that does not go on with a chain. */
export const CHAIN_BREAKS = {
  altered: 'not a whole record, or altered: its hash differs',
  displaced: 'does not continue the record before: records are missing, moved or added',
  beginning: 'the beginning of the file is missing',
  secondBeginning: 'a second beginning in one file',
  resigned: 'the checkpoint signs another record than the one with that number',
  otherKey: 'the checkpoint is signed with another key than the one given',
  badSignature: "the checkpoint's signature is wrong",
  noCheckpoint: 'a checkpoint that is none',
  unsigned: 'no checkpoint signs a record of these files: anybody could have made them',
} as const

/** Number, two hashes and the names of them. */
const LINK_BYTES_MAX = 256
const CHECKPOINT_LABEL = 'metabind audit checkpoint v1'
const LINE = /^(\{"seq":([1-9][0-9]{0,15}),"prev":"([0-9a-f]{64})",.*),"hash":"([0-9a-f]{64})"\}$/

/** A line of a chain, its hash checked. What it says is JSON in `record`. */
export interface ChainLine extends ChainHead {
  readonly prev: string
  readonly record: Readonly<Record<string, unknown>>
}

/**
 * A record as JSON in ASCII, which its line is made around.
 *
 * One that would make too long a line is written without what it says: the chain holds that it was, and what
 * of. Records are bounded where they are made; this is a second net under that.
 */
export function encodeBody(record: { readonly event: string; readonly time?: string }): string {
  const body = asciiJson(record)
  if (body.length <= LINE_BYTES_MAX - LINK_BYTES_MAX) return body
  const { time, event } = record
  return asciiJson({ time, event, leftOutBytes: body.length })
}

/** @returns the line, without line end, that puts a record after `prev`; see encodeBody */
export function encodeLine(
  prev: string,
  seq: number,
  body: string,
): { readonly text: string; readonly head: ChainHead } {
  const covered = `{"seq":${seq},"prev":"${prev}",${body.slice(1, -1)}`
  const hash = hashOf(covered)
  return { text: `${covered},"hash":"${hash}"}`, head: { seq, hash } }
}

/**
 * @param text the bytes of a line as Latin-1, so that each byte is a character
 * @returns the line taken apart, or undefined if it is none or its hash is wrong
 */
export function decodeLine(text: string): ChainLine | undefined {
  const [, covered, seq, prev, hash] = LINE.exec(text) ?? []
  if (covered === undefined || prev === undefined || hash === undefined) return undefined
  if (hashOf(covered) !== hash || !Number.isSafeInteger(Number(seq))) return undefined
  const record = parseObject(text)
  return record === undefined ? undefined : { seq: Number(seq), hash, prev, record }
}

/** What a checkpoint signs, with ECDSA and SHA-256: the label, the head's hash and its number as u64. */
export function checkpointMessage(head: ChainHead): Buffer {
  const seq = Buffer.alloc(8)
  seq.writeBigUInt64BE(BigInt(head.seq))
  return Buffer.concat([Buffer.from(CHECKPOINT_LABEL), Buffer.from(head.hash, 'hex'), seq])
}

/** Bytes and characters are the same thing in ASCII: no other bytes read as the same line. */
function asciiJson(value: object): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function hashOf(covered: string): string {
  return createHash('sha256').update(covered).digest('hex')
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The end of the audit chain, signed in the TPM. */
export interface Checkpoint {
  readonly of: ChainHead
  /** SubjectPublicKeyInfo, DER, base64. */
  readonly key: string
  /** r and s, base64. */
  readonly signature: string
}
