import { createHash } from 'node:crypto'
import type { Connection } from './connection.ts'
import { mechanism } from './key-pair.ts'
import { KEY_TYPES, type KeyType } from './key-type.ts'
import { privateKeyOf } from './objects.ts'
import { ckrOf, Pkcs11Error } from './pkcs11-error.ts'

/** PKCS #11 Current Mechanisms v2.40, 2.1.8, 2.1.18 and 2.3.6. */
const CKM_RSA_PKCS = 0x0001
const CKM_SHA256_RSA_PKCS = 0x0040
const CKM_ECDSA = 0x1041
/** struct CK_MECHANISM_INFO: smallest and largest key, flags. */
const MECHANISM_INFO_WORDS = 3
const FLAGS_AT = 2
const CKF_SIGN = 0x800n
/** DigestInfo of SHA-256 up to the digest (RFC 8017, 9.2, note 1). */
const SHA256_DIGEST_INFO = Buffer.from('3031300d060960864801650304020105000420', 'hex')
/** More than any signature of the two types: what a token writes beyond is refused by it, and not written. */
const ROOM_BYTES = 1024

/**
 * Signs bytes over SHA-256: RSASSA-PKCS1-v1_5, or ECDSA as r and s behind each other.
 *
 * @throws Pkcs11Error PKCS11_KEY, PKCS11_ANSWER, PKCS11_CKR
 */
export async function signWith(
  connection: Connection,
  session: bigint,
  { id, type }: { readonly id: Buffer; readonly type: KeyType },
  bytes: Uint8Array,
): Promise<Buffer> {
  const { cryptoki } = connection
  const handle = await privateKeyOf(connection, session, id)
  const { how, data } = await signed(connection, type, bytes)
  await cryptoki.call('C_SignInit', session, mechanism(how), handle)
  const room = Buffer.alloc(ROOM_BYTES)
  const length = BigUint64Array.of(BigInt(ROOM_BYTES))
  await cryptoki.call('C_Sign', session, data, data.length, room, length)
  const wanted = KEY_TYPES[type].signatureBytes
  if (Number(length[0]) !== wanted) {
    throw new Pkcs11Error('PKCS11_ANSWER', `a signature of ${length[0]} bytes, not of ${wanted}`)
  }
  return room.subarray(0, wanted)
}

/** What the token is told to sign: of RSA the bytes, if it hashes them itself. */
async function signed(connection: Connection, type: KeyType, bytes: Uint8Array) {
  const digest = () => createHash('sha256').update(bytes).digest()
  if (type === 'P-256') return { how: CKM_ECDSA, data: digest() }
  if (await hashesRsa(connection)) return { how: CKM_SHA256_RSA_PKCS, data: Buffer.from(bytes) }
  return { how: CKM_RSA_PKCS, data: Buffer.concat([SHA256_DIGEST_INFO, digest()]) }
}

const hashing = new WeakMap<Connection, Promise<boolean>>()

/** Asked once of a connection. */
function hashesRsa(connection: Connection): Promise<boolean> {
  const known = hashing.get(connection) ?? mayHashRsa(connection)
  hashing.set(connection, known)
  return known
}

async function mayHashRsa({ cryptoki, slot }: Connection): Promise<boolean> {
  const info = new BigUint64Array(MECHANISM_INFO_WORDS)
  try {
    await cryptoki.call('C_GetMechanismInfo', slot, CKM_SHA256_RSA_PKCS, info)
  } catch (error) {
    if (ckrOf(error) === 'CKR_MECHANISM_INVALID') return false
    throw error
  }
  return ((info[FLAGS_AT] ?? 0n) & CKF_SIGN) !== 0n
}
