/** TPM_ALG_ID (TPM 2.0 Part 2, 6.3) and TPM_ECC_CURVE (6.4), as far as evidence has to do with them. */
export const ALG = {
  RSA: 0x0001,
  SHA1: 0x0004,
  HMAC: 0x0005,
  AES: 0x0006,
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
  ECC: 0x0023,
} as const

/** A hash of the TPM: its name in node:crypto and its size in bytes. */
export interface TpmHash {
  readonly name: 'sha1' | 'sha256' | 'sha384' | 'sha512'
  readonly bytes: number
}

const HASHES: ReadonlyMap<number, TpmHash> = new Map([
  [ALG.SHA1, { name: 'sha1', bytes: 20 }],
  [ALG.SHA256, { name: 'sha256', bytes: 32 }],
  [ALG.SHA384, { name: 'sha384', bytes: 48 }],
  [ALG.SHA512, { name: 'sha512', bytes: 64 }],
])

/** The hash of a TPM_ALG_ID, undefined for what is none or is not known here (SM3, SHA-3). */
export function tpmHash(algorithm: number): TpmHash | undefined {
  return HASHES.get(algorithm)
}

/** The TPM_ALG_ID of a PCR bank's name. */
export function hashAlgorithm(name: TpmHash['name']): number {
  for (const [algorithm, hash] of HASHES) if (hash.name === name) return algorithm
  return ALG.NULL
}

/** SHA-1 is broken for signatures: it is parsed, so that its refusal can be named, and never accepted. */
export function isStrongHash(algorithm: number): boolean {
  return algorithm === ALG.SHA256 || algorithm === ALG.SHA384 || algorithm === ALG.SHA512
}

/** A curve: its name in JSON Web Keys and the size of a coordinate. */
export interface TpmCurve {
  readonly jwk: 'P-256' | 'P-384' | 'P-521'
  readonly openssl: 'prime256v1' | 'secp384r1' | 'secp521r1'
  readonly bytes: number
}

const CURVES: ReadonlyMap<number, TpmCurve> = new Map([
  [0x0003, { jwk: 'P-256', openssl: 'prime256v1', bytes: 32 }],
  [0x0004, { jwk: 'P-384', openssl: 'secp384r1', bytes: 48 }],
  [0x0005, { jwk: 'P-521', openssl: 'secp521r1', bytes: 66 }],
])

/** The curve of a TPM_ECC_CURVE, undefined for one that is not known here (SM2, BN). */
export function tpmCurve(curve: number): TpmCurve | undefined {
  return CURVES.get(curve)
}

/** A number as TPM documents write it. */
export function hexOf(value: number, digits = 4): string {
  return `0x${value.toString(16).padStart(digits, '0')}`
}
