import { ALG, hexOf } from './algorithms.ts'
import { ByteReader } from './byte-reader.ts'
import { COORDINATE_BYTES_MAX, RSA_BYTES_MAX } from './tpm-public.ts'

export const SIGNATURE_BYTES_MAX = 1024

/** TPMT_SIGNATURE (TPM 2.0 Part 2, 11.3.4) of the asymmetric schemes. */
export type TpmSignature =
  | {
      readonly algorithm: typeof ALG.ECDSA
      readonly hash: number
      /** May be shorter than the curve's field: some TPMs leave leading zero bytes out. */
      readonly r: Buffer
      readonly s: Buffer
    }
  | {
      readonly algorithm: typeof ALG.RSASSA | typeof ALG.RSAPSS
      readonly hash: number
      readonly signature: Buffer
    }

/**
 * Parses a TPMT_SIGNATURE. An HMAC is no signature: whoever can check one can make one.
 *
 * @throws MetabindError VERIFY_STRUCTURE
 */
export function parseSignature(bytes: Uint8Array): TpmSignature {
  const reader = new ByteReader(bytes, 'TPMT_SIGNATURE')
  if (bytes.length > SIGNATURE_BYTES_MAX) reader.refuse(`longer than ${SIGNATURE_BYTES_MAX}`)
  const algorithm = reader.u16()
  const hash = reader.u16()
  const parsed = readByAlgorithm(reader, algorithm, hash)
  reader.end()
  return parsed
}

function readByAlgorithm(reader: ByteReader, algorithm: number, hash: number): TpmSignature {
  if (algorithm === ALG.ECDSA) {
    const r = reader.sized(COORDINATE_BYTES_MAX)
    return { algorithm, hash, r, s: reader.sized(COORDINATE_BYTES_MAX) }
  }
  if (algorithm === ALG.RSASSA || algorithm === ALG.RSAPSS) {
    return { algorithm, hash, signature: reader.sized(RSA_BYTES_MAX) }
  }
  return reader.refuse(`signature algorithm ${hexOf(algorithm)}`)
}
