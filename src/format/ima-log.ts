import { hash } from 'node:crypto'
import { hashBytes, SHA1, type TpmHash } from './algorithms.ts'
import { LittleEndianReader } from './little-endian-reader.ts'
import type { EventDigests, PcrEvent } from './pcr-event.ts'
import { refuseLog } from './pcrs.ts'

/**
 * Reads IMA's log of what ran and was read: binary_runtime_measurements of Linux (security/integrity/ima,
 * ima_fs.c and ima_crypto.c of 6.12), whose numbers are little-endian on every machine that metabind is
 * built for. Each record is
 *
 *   PCR u32, SHA-1 of the template data, template name with its size u32, template data with its size u32
 *
 * For any template but `ima` the digest of a bank is its hash of the template data, as they stand here. So
 * all that a record says is shown to be true by a replay, and custom templates need no knowledge of them.
 */

type Bank = TpmHash['name']

const SHA1_BYTES = 20
const TEMPLATE_NAME_BYTES_MAX = 256
/** The template of the first kernels: no sizes; a name is hashed as if it had this length (IMA_EVENT_NAME_LEN_MAX + 1). */
const OLD_TEMPLATE = 'ima'
const OLD_NAME_BYTES = 256
const VIOLATION = Buffer.alloc(SHA1_BYTES)

/**
 * @param banks those whose digests are wanted; SHA-1 is always there
 * @returns events whose digests are right for their data, in order
 * @throws MetabindError VERIFY_EVENT_LOG if it is malformed, or a digest is not of its data
 */
export function parseImaLog(log: Uint8Array, banks: Iterable<Bank>): PcrEvent[] {
  const reader = new LittleEndianReader(log, () => refuseLog('the IMA log is truncated'))
  const wanted = new Set<Bank>([SHA1, ...banks])
  const events: PcrEvent[] = []
  while (!reader.isAtEnd) events.push(readRecord(reader, wanted))
  return events
}

function readRecord(reader: LittleEndianReader, banks: ReadonlySet<Bank>): PcrEvent {
  const pcr = reader.u32()
  const logged = reader.take(SHA1_BYTES)
  const nameBytes = reader.u32()
  if (nameBytes === 0 || nameBytes > TEMPLATE_NAME_BYTES_MAX) refuseLog('an IMA template name')
  const type = reader.take(nameBytes).toString('latin1')
  const data = type === OLD_TEMPLATE ? readOldTemplate(reader) : reader.sized()
  return { log: 'ima', pcr, type, digests: imaDigests(logged, data, banks), data }
}

function readOldTemplate(reader: LittleEndianReader): Buffer {
  const digest = reader.take(SHA1_BYTES)
  const name = reader.sized()
  if (name.length >= OLD_NAME_BYTES) refuseLog('an IMA file name')
  return Buffer.concat([digest, name, Buffer.alloc(OLD_NAME_BYTES - name.length)])
}

/**
 * Of a violation (a file changed while it was measured) the log has zeros, so that nobody can tell its content,
 * and PCRs were extended by ones.
 */
function imaDigests(logged: Buffer, data: Buffer, banks: ReadonlySet<Bank>): EventDigests {
  const isViolation = logged.equals(VIOLATION)
  const digests = new Map(
    [...banks].map((bank) => [bank, isViolation ? ones(bank) : hash(bank, data, 'buffer')]),
  )
  if (!isViolation && !digests.get(SHA1)?.equals(logged)) refuseLog('an IMA digest of other data')
  return digests
}

function ones(bank: Bank): Buffer {
  return Buffer.alloc(hashBytes(bank), 0xff)
}

/**
 * What kernels before 5.8 extended in every bank, and later ones in a bank whose hash they do not have: SHA-1,
 * filled up with zeros.
 */
export function paddedSha1({ digests }: PcrEvent, bank: Bank): Buffer | undefined {
  const sha1 = digests.get(SHA1)
  const bytes = hashBytes(bank)
  return sha1 && Buffer.concat([sha1, Buffer.alloc(bytes)], bytes)
}
