import type { PublicJwk } from '../format/public-jwk.ts'
import type { SigningAlgorithm } from './key-schedule.ts'

/** A private key that signs, wherever it is. */
export interface PrivateKey {
  readonly publicJwk: PublicJwk
  /**
   * Signs over SHA-256 in the form of JWS (RFC 7518, 3.3 and 3.4): RSASSA-PKCS1-v1_5, or of ECDSA r and s.
   *
   * @throws MetabindError REGISTRAR_HSM, REGISTRAR_PIN, REGISTRAR_BUSY
   */
  sign(bytes: Uint8Array): Promise<Buffer>
}

/** A new key, with what the database keeps of it. */
interface MadeKey {
  readonly key: PrivateKey
  /** Opened by the store that made it, and of no use without the master key. */
  readonly sealed: Buffer
}

/** Where private keys are. */
export interface KeyStore {
  /** @param kind what it is for, for whoever looks at it @throws MetabindError REGISTRAR_HSM, REGISTRAR_PIN, REGISTRAR_BUSY */
  make(algorithm: SigningAlgorithm, kind: string): Promise<MadeKey>
  /**
   * @param publicJwk what the database says that its public key is
   * @throws MetabindError REGISTRAR_DATABASE if it was sealed under another master key, or has another public key
   */
  open(sealed: Buffer, publicJwk: PublicJwk): PrivateKey
  /** Ends what of a key is not in the database. One that is gone already is no fault. */
  destroy(sealed: Buffer): Promise<void>
}
