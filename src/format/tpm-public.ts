import { ALG, hexOf, tpmHash } from './algorithms.ts'
import { ByteReader } from './byte-reader.ts'

/** Bounds of TPM 2.0 Part 2: no digest is longer than SHA-512's, no key than RSA-4096. */
export const PUBLIC_BYTES_MAX = 1024
export const DIGEST_BYTES_MAX = 64
export const RSA_BYTES_MAX = 512
export const COORDINATE_BYTES_MAX = 66

/** TPMA_OBJECT (Part 2, 8.3). */
export const ATTRIBUTE = {
  fixedTPM: 0x2,
  stClear: 0x4,
  fixedParent: 0x10,
  sensitiveDataOrigin: 0x20,
  userWithAuth: 0x40,
  adminWithPolicy: 0x80,
  noDA: 0x400,
  encryptedDuplication: 0x800,
  restricted: 0x10000,
  decrypt: 0x20000,
  sign: 0x40000,
  x509sign: 0x80000,
} as const

/** A scheme with its hash: TPMT_RSA_SCHEME, TPMT_ECC_SCHEME, TPMT_KDF_SCHEME (Part 2, 11.2). */
interface TpmScheme {
  readonly algorithm: number
  readonly hash: number | undefined
}

/** TPMT_SYM_DEF_OBJECT (Part 2, 11.1.7). */
interface TpmSymmetric {
  readonly algorithm: number
  readonly keyBits: number
  readonly mode: number
}

interface PublicBase {
  readonly nameAlg: number
  /** TPMA_OBJECT. */
  readonly attributes: number
  readonly authPolicy: Buffer
  /** Where `unique` begins: what stands before it is the template, what follows is the key. */
  readonly uniqueOffset: number
  /** The structure as it came. */
  readonly bytes: Buffer
}

/** TPMT_PUBLIC (TPM 2.0 Part 2, 12.2.4) of the three kinds of objects that evidence carries. */
export type TpmPublic =
  | (PublicBase & {
      readonly type: 'rsa'
      readonly symmetric: TpmSymmetric | undefined
      readonly scheme: TpmScheme
      readonly keyBits: number
      /** 0 stands for 65537. */
      readonly exponent: number
      readonly modulus: Buffer
    })
  | (PublicBase & {
      readonly type: 'ecc'
      readonly symmetric: TpmSymmetric | undefined
      readonly scheme: TpmScheme
      readonly curve: number
      readonly kdf: TpmScheme
      readonly x: Buffer
      readonly y: Buffer
    })
  | (PublicBase & {
      readonly type: 'keyedhash'
      readonly scheme: TpmScheme
      readonly kdf: TpmScheme | undefined
      readonly unique: Buffer
    })

/**
 * Parses a TPMT_PUBLIC: bounded, no trailing bytes, nothing skipped.
 *
 * @throws MetabindError VERIFY_STRUCTURE
 */
export function parsePublic(bytes: Uint8Array): TpmPublic {
  const reader = new ByteReader(bytes, 'TPMT_PUBLIC')
  if (bytes.length > PUBLIC_BYTES_MAX) reader.refuse(`longer than ${PUBLIC_BYTES_MAX}`)
  const type = reader.u16()
  const head = {
    nameAlg: readHash(reader),
    attributes: reader.u32(),
    authPolicy: reader.sized(DIGEST_BYTES_MAX),
    bytes: Buffer.from(bytes),
  }
  const parsed = readByType(reader, type, head)
  reader.end()
  return parsed
}

type Head = Omit<PublicBase, 'uniqueOffset'>

function readByType(reader: ByteReader, type: number, head: Head): TpmPublic {
  if (type === ALG.RSA) return readRsa(reader, head)
  if (type === ALG.ECC) return readEcc(reader, head)
  if (type === ALG.KEYEDHASH) return readKeyedHash(reader, head)
  return reader.refuse(`type ${hexOf(type)}`)
}

/** TPMS_RSA_PARMS and TPM2B_PUBLIC_KEY_RSA (Part 2, 12.2.3.5 and 11.2.4.5). */
function readRsa(reader: ByteReader, head: Head): TpmPublic {
  const symmetric = readSymmetric(reader)
  const scheme = readScheme(reader)
  const keyBits = reader.u16()
  const exponent = reader.u32()
  const uniqueOffset = reader.offset
  const modulus = reader.sized(RSA_BYTES_MAX)
  return { type: 'rsa', ...head, symmetric, scheme, keyBits, exponent, uniqueOffset, modulus }
}

/** TPMS_ECC_PARMS and TPMS_ECC_POINT (Part 2, 12.2.3.6 and 11.2.5.2). */
function readEcc(reader: ByteReader, head: Head): TpmPublic {
  const symmetric = readSymmetric(reader)
  const scheme = readScheme(reader)
  const curve = reader.u16()
  const kdf = readScheme(reader)
  const uniqueOffset = reader.offset
  const x = reader.sized(COORDINATE_BYTES_MAX)
  const y = reader.sized(COORDINATE_BYTES_MAX)
  return { type: 'ecc', ...head, symmetric, scheme, curve, kdf, uniqueOffset, x, y }
}

/** TPMS_KEYEDHASH_PARMS and TPM2B_DIGEST (Part 2, 12.2.3.3 and 12.2.3.2). */
function readKeyedHash(reader: ByteReader, head: Head): TpmPublic {
  const algorithm = reader.u16()
  const known = algorithm === ALG.NULL || algorithm === ALG.HMAC || algorithm === ALG.XOR
  if (!known) reader.refuse(`keyed hash scheme ${hexOf(algorithm)}`)
  const hash = algorithm === ALG.NULL ? undefined : readHash(reader)
  const kdf = algorithm === ALG.XOR ? readScheme(reader) : undefined
  const uniqueOffset = reader.offset
  const unique = reader.sized(DIGEST_BYTES_MAX)
  return { type: 'keyedhash', ...head, scheme: { algorithm, hash }, kdf, uniqueOffset, unique }
}

function readHash(reader: ByteReader): number {
  const algorithm = reader.u16()
  if (tpmHash(algorithm) === undefined) reader.refuse(`hash ${hexOf(algorithm)}`)
  return algorithm
}

function readSymmetric(reader: ByteReader): TpmSymmetric | undefined {
  const algorithm = reader.u16()
  if (algorithm === ALG.NULL) return undefined
  if (algorithm === ALG.XOR) reader.refuse('XOR as the symmetric cipher of an object')
  return { algorithm, keyBits: reader.u16(), mode: reader.u16() }
}

// A scheme of none of these would have fields of unknown length.
const SCHEMES_WITHOUT_HASH: ReadonlySet<number> = new Set([ALG.NULL, ALG.RSAES])
const SCHEMES_WITH_HASH: ReadonlySet<number> = new Set([
  ...[ALG.RSASSA, ALG.RSAPSS, ALG.OAEP, ALG.ECDSA, ALG.ECDH, ALG.SM2, ALG.ECSCHNORR, ALG.ECMQV],
  ...[ALG.MGF1, ALG.KDF1_SP800_56A, ALG.KDF2, ALG.KDF1_SP800_108],
])

function readScheme(reader: ByteReader): TpmScheme {
  const algorithm = reader.u16()
  if (SCHEMES_WITHOUT_HASH.has(algorithm)) return { algorithm, hash: undefined }
  if (!SCHEMES_WITH_HASH.has(algorithm)) reader.refuse(`scheme ${hexOf(algorithm)}`)
  return { algorithm, hash: readHash(reader) }
}
