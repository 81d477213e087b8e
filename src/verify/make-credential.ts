import {
  constants,
  createCipheriv,
  createECDH,
  createHmac,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { ALG, type TpmHash, tpmCurve, tpmHash } from '../format/algorithms.ts'
import { sized } from '../format/byte-reader.ts'
import { kdfa, kdfe } from '../format/tpm-kdf.ts'
import { keyObjectOf, leftPad } from '../format/tpm-key.ts'
import type { TpmPublic } from '../format/tpm-public.ts'

/** TPM2_MakeCredential (TPM 2.0 Part 1, 24) without a TPM. */
export interface Credential {
  /** TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, contents without their sizes. */
  readonly credentialBlob: Buffer
  readonly encryptedSecret: Buffer
}

interface Seed {
  readonly seed: Buffer
  readonly encryptedSecret: Buffer
}

/**
 * Encrypts a secret so that only the TPM with this EK can open it, and only if it holds an object
 * of this Name. The Name must have been computed from a public area that was checked: otherwise it
 * proves nothing about the key. Hash and cipher are the EK's (P-384 and RSA-3072 EKs have SHA-384 and AES-256),
 * not the object's.
 *
 * @throws MetabindError VERIFY_STRUCTURE if the EK cannot be encrypted to
 */
export function makeCredential(
  ek: TpmPublic,
  objectName: Uint8Array,
  secret: Uint8Array,
): Credential {
  const hash = tpmHash(ek.nameAlg)
  if (hash === undefined) return unusable('its hash')
  const bits = symmetricBits(ek)
  const { seed, encryptedSecret } = ek.type === 'rsa' ? rsaSeed(ek, hash) : eccSeed(ek, hash)
  const none = Buffer.alloc(0)
  const symKey = kdfa(hash, seed, 'STORAGE', objectName, none, bits)
  const cipher = createCipheriv(`aes-${bits}-cfb`, symKey, Buffer.alloc(16))
  const encIdentity = Buffer.concat([cipher.update(sized(secret)), cipher.final()])
  const macKey = kdfa(hash, seed, 'INTEGRITY', none, none, hash.bytes * 8)
  const mac = createHmac(hash.name, macKey).update(encIdentity).update(objectName).digest()
  return { credentialBlob: Buffer.concat([sized(mac), encIdentity]), encryptedSecret }
}

function symmetricBits(ek: TpmPublic): number {
  const symmetric = ek.type === 'keyedhash' ? undefined : ek.symmetric
  const bits = symmetric?.algorithm === ALG.AES ? symmetric.keyBits : 0
  return bits === 128 || bits === 256 ? bits : unusable('its cipher')
}

/** Part 1, B.10.4: OAEP by the EK's hash; the label ends in a NUL. */
function rsaSeed(ek: TpmPublic, { name, bytes }: TpmHash): Seed {
  const seed = randomBytes(bytes)
  const encryptedSecret = publicEncrypt(
    {
      key: keyObjectOf(ek),
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: name,
      oaepLabel: Buffer.from('IDENTITY\0'),
    },
    seed,
  )
  return { seed, encryptedSecret }
}

/** Part 1, C.6.4: one-pass ECDH with an ephemeral key. Coordinates have the length of the field. */
function eccSeed(ek: TpmPublic, hash: TpmHash): Seed {
  const curve = ek.type === 'ecc' ? tpmCurve(ek.curve) : undefined
  if (ek.type !== 'ecc' || curve === undefined) return unusable('its curve')
  // Loading the key is what checks that its point is on the curve (invalid curve attack).
  keyObjectOf(ek)
  const ekX = leftPad(ek.x, curve.bytes)
  const ekPoint = Buffer.concat([Uint8Array.of(4), ekX, leftPad(ek.y, curve.bytes)])
  const ephemeral = createECDH(curve.openssl)
  const point = ephemeral.generateKeys()
  const x = point.subarray(1, 1 + curve.bytes)
  const z = leftPad(ephemeral.computeSecret(ekPoint), curve.bytes)
  return {
    seed: kdfe(hash, z, 'IDENTITY', x, ekX, hash.bytes * 8),
    encryptedSecret: Buffer.concat([sized(x), sized(point.subarray(1 + curve.bytes))]),
  }
}

function unusable(what: string): never {
  throw new MetabindError('VERIFY_STRUCTURE', `TPMT_PUBLIC: cannot encrypt to it: ${what}.`)
}
