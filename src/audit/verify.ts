import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { z } from 'zod'
import {
  CHAIN_BREAKS,
  CHAIN_ORIGIN,
  type ChainHead,
  type ChainLine,
  checkpointMessage,
  decodeLine,
} from './chain.ts'

/** One audit file: a name for reports, and its bytes as lines. */
export interface AuditFileText {
  readonly name: string
  readonly lines: Iterable<string>
}

/** What a verification knows from elsewhere. Each part finds more. */
export interface Expected {
  /** The key that checkpoints must be signed with. Without it they may be anybody's. */
  readonly key?: KeyObject | undefined
  /** A line that must be there; `last`: and be the last. */
  readonly head?: { readonly hash: string; readonly last: boolean } | undefined
}

/** Where a chain is broken, and how. */
interface Break {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly reason: string
}

/** What was found. `broken` undefined: every line continues the one before. */
export interface ChainVerdict {
  readonly records: number
  readonly first: number
  readonly head: ChainHead
  /** Records that the agent itself says it could not write. */
  readonly lost: number
  readonly checkpoints: number
  /** The last record of these files that a checkpoint signs; 0: none. */
  readonly signedUpTo: number
  /**
   * Records at the end that neither a checkpoint nor the expected head stands for: they could be
   * anybody's, and others could have been cut off. The checkpoint itself is none of them.
   */
  readonly unsigned: number
  /** SPKI in base64 of the keys that signed, in order of appearance. */
  readonly keys: readonly string[]
  readonly broken: Break | undefined
}

const HEX_HASH = z.string().regex(/^[0-9a-f]{64}$/)
const BASE64 = z
  .string()
  .max(1024)
  .regex(/^[A-Za-z0-9+/]+={0,2}$/)
/** A checkpoint, as it stands in its record. */
const checkpointSchema = z.object({
  of: z.object({ seq: z.int().min(1), hash: HEX_HASH }),
  /** SubjectPublicKeyInfo, DER. */
  key: BASE64,
  /** ECDSA with SHA-256 over P-256: r and s, 32 bytes each. */
  signature: BASE64,
})
const lostSchema = z.int().min(1)

class ChainBroken extends Error {}

/** The state of a verification: what has been read so far. */
interface Walk {
  records: number
  first: number
  head: ChainHead
  lost: number
  checkpoints: number
  signedUpTo: number
  /** The last record that somebody stands for: a checkpoint with what is signed by it, or an expected head. */
  vouchedUpTo: number
  /** The hash that the first record continues. */
  before: string
  /** The record that the last checkpoint names, in these files or before them. */
  checkpointOf: number
  keys: string[]
  /** Hashes since the last checkpoint, which the next one may name. */
  unsigned: Map<number, string>
  sawExpected: boolean
}

/**
 * Verifies audit files, given in the order in which they were written. Reads each line once, keeps
 * no more than the hashes since the last checkpoint, and stops at the first break.
 */
export function verifyAudit(files: readonly AuditFileText[], expected: Expected): ChainVerdict {
  const walk: Walk = {
    ...{ records: 0, first: 0, head: CHAIN_ORIGIN, lost: 0, checkpoints: 0, signedUpTo: 0 },
    ...{ vouchedUpTo: 0, before: CHAIN_ORIGIN.hash, checkpointOf: 0 },
    keys: [],
    unsigned: new Map(),
    sawExpected: false,
  }
  const broken =
    walkFiles(walk, files, expected) ??
    expectedHeadMissing(walk, files, expected) ??
    signatureMissing(walk, files, expected)
  const { records, first, head, lost, checkpoints, signedUpTo, keys } = walk
  const unsigned = head.seq - Math.max(walk.vouchedUpTo, first - 1)
  return { records, first, head, lost, checkpoints, signedUpTo, unsigned, keys, broken }
}

function walkFiles(
  walk: Walk,
  files: readonly AuditFileText[],
  expected: Expected,
): Break | undefined {
  for (const file of files) {
    let line = 0
    try {
      for (const text of file.lines) {
        line += 1
        take(walk, text, line === 1, expected)
      }
      // An agent was killed before its first record, if what follows goes on; of the last nobody can tell.
      if (line === 0 && file === files.at(-1)) throw new ChainBroken('the file is empty')
    } catch (error) {
      if (!(error instanceof ChainBroken)) throw error
      return { file: file.name, line, reason: error.message }
    }
  }
  return undefined
}

function expectedHeadMissing(
  walk: Walk,
  files: readonly AuditFileText[],
  { head }: Expected,
): Break | undefined {
  if (head === undefined) return undefined
  if (head.last ? walk.head.hash === head.hash : walk.sawExpected) return undefined
  const reason = head.last
    ? 'the chain does not end with the expected head: its end was cut off, or it went on'
    : 'the expected head is not in the chain: its end was cut off, or this is another chain'
  return { file: files.at(-1)?.name ?? '', line: walk.records, reason }
}

/** Whoever names a key says that the chain is signed: one without a signature is not the agent's. */
function signatureMissing(
  walk: Walk,
  files: readonly AuditFileText[],
  { key }: Expected,
): Break | undefined {
  if (key === undefined || walk.signedUpTo > 0) return undefined
  const reason = CHAIN_BREAKS.unsigned
  return { file: files.at(-1)?.name ?? '', line: walk.records, reason }
}

function take(walk: Walk, text: string, isFirstOfFile: boolean, expected: Expected): void {
  const line = decodeLine(text)
  if (line === undefined) throw new ChainBroken(CHAIN_BREAKS.altered)
  requirePlace(walk, line, isFirstOfFile)
  if (walk.records === 0) Object.assign(walk, { first: line.seq, before: line.prev })
  walk.records += 1
  walk.head = { seq: line.seq, hash: line.hash }
  walk.unsigned.set(line.seq, line.hash)
  if (line.hash === expected.head?.hash) {
    walk.sawExpected = true
    walk.vouchedUpTo = line.seq
  }
  if (line.record.event === 'chain.checkpoint') takeCheckpoint(walk, line, expected)
}

/** Each line continues the one before; a file starts with `chain.start`, and only a file does. */
function requirePlace(walk: Walk, line: ChainLine, isFirstOfFile: boolean): void {
  if ((line.record.event === 'chain.start') !== isFirstOfFile) {
    throw new ChainBroken(isFirstOfFile ? CHAIN_BREAKS.beginning : CHAIN_BREAKS.secondBeginning)
  }
  // What came before the first file given is not judged, but before the first record was nothing.
  if (walk.records === 0 && line.seq > 1) return
  if (line.prev !== walk.head.hash) {
    throw new ChainBroken(CHAIN_BREAKS.displaced)
  }
  const lost = line.record.event === 'chain.gap' ? lostOf(line) : 0
  if (line.seq !== walk.head.seq + lost + 1) throw new ChainBroken('its number does not follow')
  walk.lost += lost
}

function lostOf(line: ChainLine): number {
  const parsed = lostSchema.safeParse(line.record.lost)
  if (!parsed.success) throw new ChainBroken('a gap that does not say how many records it lost')
  return parsed.data
}

function takeCheckpoint(walk: Walk, line: ChainLine, expected: Expected): void {
  const parsed = checkpointSchema.safeParse(line.record.checkpoint)
  if (!parsed.success) throw new ChainBroken(CHAIN_BREAKS.noCheckpoint)
  const { of, key, signature } = parsed.data
  requireSignature(of, key, signature, expected.key)
  // One that is given again would stand for what was signed once already.
  if (of.seq <= walk.checkpointOf) throw new ChainBroken('the checkpoint is older than the last')
  walk.checkpointOf = of.seq
  if (of.seq < walk.first) {
    // Of a file that is not given: of that it shows only the record that the first one here continues.
    if (of.seq !== walk.first - 1 || of.hash !== walk.before) return
  } else {
    signedHere(walk, of, line.seq)
  }
  if (!walk.keys.includes(key)) walk.keys.push(key)
  walk.checkpoints += 1
}

function signedHere(walk: Walk, of: ChainHead, checkpointSeq: number): void {
  if (walk.unsigned.get(of.seq) !== of.hash) {
    throw new ChainBroken(CHAIN_BREAKS.resigned)
  }
  walk.signedUpTo = of.seq
  // The checkpoint is checked by itself; if it follows at once, nothing is between that is not signed.
  walk.vouchedUpTo =
    checkpointSeq === of.seq + 1 ? checkpointSeq : Math.max(walk.vouchedUpTo, of.seq)
  for (const seq of walk.unsigned.keys()) {
    if (seq > of.seq) break
    walk.unsigned.delete(seq)
  }
}

function requireSignature(
  head: ChainHead,
  keyBase64: string,
  signatureBase64: string,
  expected: KeyObject | undefined,
): void {
  const key = readKey(keyBase64)
  if (expected !== undefined && !expected.equals(key)) {
    throw new ChainBroken(CHAIN_BREAKS.otherKey)
  }
  const signature = Buffer.from(signatureBase64, 'base64')
  const signedWith = { key, dsaEncoding: 'ieee-p1363' } as const
  if (!verify('sha256', checkpointMessage(head), signedWith, signature)) {
    throw new ChainBroken(CHAIN_BREAKS.badSignature)
  }
}

function readKey(base64: string): KeyObject {
  try {
    const key = createPublicKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'spki' })
    if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key
  } catch {
    // The reason is the same as for a key of another kind.
  }
  throw new ChainBroken('the checkpoint names no P-256 key')
}
