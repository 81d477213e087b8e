import { CKA, type Template } from './attributes.ts'

/** The two types of keys that sign, each with what Cryptoki has to be told (PKCS #11 Current Mechanisms v2.40, 2.1 and 2.3). */

export type KeyType = 'RSA-2048' | 'P-256'

/** Numbers of the public key, in big-endian order. */
export type PublicPart =
  | { readonly modulus: Buffer; readonly exponent: Buffer }
  | { readonly x: Buffer; readonly y: Buffer }

const RSA_BITS = 2048
/** 65537. */
const RSA_EXPONENT = Buffer.of(1, 0, 1)
/** The object identifier of prime256v1 in DER, as CKA_EC_PARAMS has it. */
const P256_OID = Buffer.from('06082a8648ce3d030107', 'hex')
const P256_BYTES = 32

/** Some tokens let a key do everything that they are not told that it may not. */
const SIGNS_ALONE: Template = [
  [CKA.DECRYPT, false],
  [CKA.UNWRAP, false],
]

interface KeyTypeEntry {
  /** The mechanism that makes it. */
  readonly generate: number
  readonly publicTemplate: Template
  /** What a key that only signs must not be able to do besides. */
  readonly privateTemplate: Template
  readonly signatureBytes: number
  /** Attributes of the public key, with the most bytes that each has. */
  readonly publicRoom: readonly (readonly [type: number, bytesMax: number])[]
  /** @returns undefined if they are not of such a key */
  readonly publicPart: (values: readonly (Buffer | undefined)[]) => PublicPart | undefined
}

export const KEY_TYPES: Readonly<Record<KeyType, KeyTypeEntry>> = {
  'RSA-2048': {
    // CKM_RSA_PKCS_KEY_PAIR_GEN
    generate: 0x0000,
    publicTemplate: [
      [CKA.MODULUS_BITS, RSA_BITS],
      [CKA.PUBLIC_EXPONENT, RSA_EXPONENT],
    ],
    privateTemplate: SIGNS_ALONE,
    signatureBytes: RSA_BITS / 8,
    publicRoom: [
      [CKA.MODULUS, RSA_BITS / 8 + 1],
      [CKA.PUBLIC_EXPONENT, 8],
    ],
    publicPart: ([modulus, exponent]) => {
      if (modulus === undefined || exponent === undefined) return undefined
      const [n, e] = [unsigned(modulus), unsigned(exponent)]
      const isRight = n.length === RSA_BITS / 8 && (n[0] ?? 0) >= 0x80 && e.equals(RSA_EXPONENT)
      return isRight ? { modulus: n, exponent: e } : undefined
    },
  },
  'P-256': {
    // CKM_EC_KEY_PAIR_GEN
    generate: 0x1040,
    publicTemplate: [[CKA.EC_PARAMS, P256_OID]],
    privateTemplate: [...SIGNS_ALONE, [CKA.DERIVE, false]],
    signatureBytes: 2 * P256_BYTES,
    publicRoom: [[CKA.EC_POINT, 2 * P256_BYTES + 8]],
    publicPart: ([point]) => (point === undefined ? undefined : coordinates(point)),
  },
}

/** The point as it is, which some tokens give, or in the OCTET STRING of the standard: of this curve both are of one length. */
function coordinates(point: Buffer): PublicPart | undefined {
  const wrapped = Buffer.of(0x04, 1 + 2 * P256_BYTES)
  const isWrapped = point.length === 3 + 2 * P256_BYTES && point.subarray(0, 2).equals(wrapped)
  const raw = isWrapped ? point.subarray(2) : point
  // SEC 1, 2.3.3: not compressed.
  if (raw.length !== 1 + 2 * P256_BYTES || raw[0] !== 0x04) return undefined
  return { x: raw.subarray(1, 1 + P256_BYTES), y: raw.subarray(1 + P256_BYTES) }
}

/** A big integer without the zeros that some tokens put before it. */
function unsigned(bytes: Buffer): Buffer {
  const at = bytes.findIndex((byte) => byte !== 0)
  return at < 0 ? Buffer.alloc(0) : bytes.subarray(at)
}
