import type { KeyObject } from 'node:crypto'

/**
 * Every algorithm that evidence, certificates, policies and results have to do with, under all of its names. No other
 * file of src/format and of the verifier's folders names one (test/documents/algorithms.test.ts), so that what is
 * accepted, and what comes next, is decided here.
 */

/** TPM_ALG_ID (TPM 2.0 Part 2, 6.3), as far as evidence has to do with them. */
export const ALG = {
  RSA: 0x0001,
  SHA1: 0x0004,
  HMAC: 0x0005,
  AES: 0x0006,
  MGF1: 0x0007,
  KEYEDHASH: 0x0008,
  XOR: 0x000a,
  SHA256: 0x000b,
  SHA384: 0x000c,
  SHA512: 0x000d,
  NULL: 0x0010,
  RSASSA: 0x0014,
  RSAES: 0x0015,
  RSAPSS: 0x0016,
  OAEP: 0x0017,
  ECDSA: 0x0018,
  ECDH: 0x0019,
  ECDAA: 0x001a,
  SM2: 0x001b,
  ECSCHNORR: 0x001c,
  ECMQV: 0x001d,
  KDF1_SP800_56A: 0x0020,
  KDF2: 0x0021,
  KDF1_SP800_108: 0x0022,
  ECC: 0x0023,
} as const

/** Broken for signatures. IMA and logs of TPM 1.2 are made of it, and one cloud signs documents with it. */
export const SHA1 = 'sha1' as const
/** What may be under a signature, and in a policy. */
export const STRONG_HASHES = ['sha256', 'sha384', 'sha512'] as const
export type StrongHash = (typeof STRONG_HASHES)[number]
export const HASHES = [SHA1, ...STRONG_HASHES] as const

/** A hash of the TPM: its name in node:crypto and its size in bytes. */
export interface TpmHash {
  readonly name: (typeof HASHES)[number]
  readonly bytes: number
}

const HASH_OF: ReadonlyMap<number, TpmHash> = new Map([
  [ALG.SHA1, { name: SHA1, bytes: 20 }],
  [ALG.SHA256, { name: 'sha256', bytes: 32 }],
  [ALG.SHA384, { name: 'sha384', bytes: 48 }],
  [ALG.SHA512, { name: 'sha512', bytes: 64 }],
])

/** The hash of a TPM_ALG_ID, undefined for what is none or is not known here (SM3, SHA-3). */
export function tpmHash(algorithm: number): TpmHash | undefined {
  return HASH_OF.get(algorithm)
}

/** The TPM_ALG_ID of a PCR bank's name. */
export function hashAlgorithm(name: TpmHash['name']): number {
  for (const [algorithm, hash] of HASH_OF) if (hash.name === name) return algorithm
  return ALG.NULL
}

/** How long a digest of a PCR bank is. */
export function hashBytes(name: TpmHash['name']): number {
  return tpmHash(hashAlgorithm(name))?.bytes ?? 0
}

/** SHA-1 is broken for signatures: it is parsed, so that its refusal can be named, and never accepted. */
export function isStrongHash(algorithm: number): boolean {
  const name = tpmHash(algorithm)?.name
  return STRONG_HASHES.some((strong) => strong === name)
}

/** A curve: its name in JSON Web Keys, in node:crypto and in certificates, and the size of a coordinate. */
export interface TpmCurve {
  readonly jwk: 'P-256' | 'P-384' | 'P-521'
  readonly openssl: 'prime256v1' | 'secp384r1' | 'secp521r1'
  readonly oid: string
  readonly bytes: number
}

/** By TPM_ECC_CURVE (Part 2, 6.4). */
const CURVE_OF: ReadonlyMap<number, TpmCurve> = new Map([
  [0x0003, { jwk: 'P-256', openssl: 'prime256v1', oid: '1.2.840.10045.3.1.7', bytes: 32 }],
  [0x0004, { jwk: 'P-384', openssl: 'secp384r1', oid: '1.3.132.0.34', bytes: 48 }],
  [0x0005, { jwk: 'P-521', openssl: 'secp521r1', oid: '1.3.132.0.35', bytes: 66 }],
])

/** The curve of a TPM_ECC_CURVE, undefined for one that is not known here (SM2, BN). */
export function tpmCurve(curve: number): TpmCurve | undefined {
  return CURVE_OF.get(curve)
}

/** @param namedCurve as node:crypto calls it */
export function isKnownCurve(namedCurve: string): boolean {
  return [...CURVE_OF.values()].some(({ openssl }) => openssl === namedCurve)
}

/** Kinds of endorsement keys, as evidence calls them. */
export const EK_KINDS = ['P-256', 'P-384', 'RSA-2048', 'RSA-3072'] as const
export type EkKind = (typeof EK_KINDS)[number]

/** Object identifiers of keys in certificates. Some makers say RSAES-OAEP for what an RSA key is for. */
export const KEY_OIDS = {
  rsa: '1.2.840.113549.1.1.1',
  rsaOaep: '1.2.840.113549.1.1.7',
  ec: '1.2.840.10045.2.1',
} as const
export const SHA1_OID = '1.3.14.3.2.26'
/** id-ml-dsa-65 (RFC 9881) in DER, as it stands in a key. */
export const ML_DSA_65_OID = Buffer.from('0609608648016503040312', 'hex')

/**
 * Signature algorithms of certificates that are accepted: RSA PKCS#1 v1.5 and ECDSA, with SHA-256 or
 * better. SHA-1 and MD5 are not in the list, so a collision buys nobody an EK certificate.
 */
export const CERTIFICATE_SIGNATURES: ReadonlyMap<
  string,
  { readonly key: 'rsa' | 'ec'; readonly hash: StrongHash }
> = new Map([
  ['1.2.840.113549.1.1.11', { key: 'rsa', hash: 'sha256' }],
  ['1.2.840.113549.1.1.12', { key: 'rsa', hash: 'sha384' }],
  ['1.2.840.113549.1.1.13', { key: 'rsa', hash: 'sha512' }],
  ['1.2.840.10045.4.3.2', { key: 'ec', hash: 'sha256' }],
  ['1.2.840.10045.4.3.3', { key: 'ec', hash: 'sha384' }],
  ['1.2.840.10045.4.3.4', { key: 'ec', hash: 'sha512' }],
])

export const RSA_BITS_MIN = 2048
// To verify is quadratic in this; a certificate of 16 KiB could hold a modulus of 120,000 bits.
export const RSA_BITS_MAX = 8192

/** An algorithm that tokens and policies are signed with. Each kind of key has one: a signer does not get to choose. */
export interface SignatureAlgorithm {
  /** `alg` in JSON Object Signing (RFC 7518, 8037, 9964). */
  readonly name: 'ES256' | 'ES384' | 'ES512' | 'PS256' | 'EdDSA' | 'ML-DSA-65'
  /** `alg` in CBOR Object Signing (RFC 9053, 8230, 9964). */
  readonly cose: number
  /** What node:crypto calls the kind of key. */
  readonly keyType: 'ec' | 'rsa' | 'ed25519' | 'ml-dsa-65'
  /** The curve's name in node:crypto, of keys of type `ec`. */
  readonly curve?: TpmCurve['openssl']
  /** As strong as the key (RFC 7518, 3); undefined if the algorithm hashes by itself. */
  readonly hash?: StrongHash
}

/** Of identity tokens too: the SK is a key of P-256. */
export const ES256 = {
  name: 'ES256',
  cose: -7,
  keyType: 'ec',
  curve: 'prime256v1',
  jwk: 'P-256',
  hash: 'sha256',
} as const

/** All of them. */
export const SIGNATURE_ALGORITHMS: readonly SignatureAlgorithm[] = [
  ES256,
  { name: 'ES384', cose: -35, keyType: 'ec', curve: 'secp384r1', hash: 'sha384' },
  { name: 'ES512', cose: -36, keyType: 'ec', curve: 'secp521r1', hash: 'sha512' },
  { name: 'PS256', cose: -37, keyType: 'rsa', hash: 'sha256' },
  { name: 'EdDSA', cose: -8, keyType: 'ed25519' },
  { name: 'ML-DSA-65', cose: -49, keyType: 'ml-dsa-65' },
]

/** What a key signs with; undefined for one that signs nothing here, or is too weak for it. */
export function signatureAlgorithmOf(key: KeyObject): SignatureAlgorithm | undefined {
  const { modulusLength = 0, publicExponent = 0n, namedCurve } = key.asymmetricKeyDetails ?? {}
  const isStrongRsa =
    modulusLength >= RSA_BITS_MIN && modulusLength <= RSA_BITS_MAX && publicExponent > 1n
  const algorithm = SIGNATURE_ALGORITHMS.find(
    ({ keyType, curve }) => keyType === key.asymmetricKeyType && curve === namedCurve,
  )
  return algorithm?.keyType === 'rsa' && !isStrongRsa ? undefined : algorithm
}

/** A number as TPM documents write it. */
export function hexOf(value: number, digits = 4): string {
  return `0x${value.toString(16).padStart(digits, '0')}`
}
