import { createPublicKey, type KeyObject } from 'node:crypto'
import { MetabindError } from '../errors.ts'

// TPMT_PUBLIC of a P-256 signing key made from our templates, up to the point: type ECC, nameAlg
// SHA-256, attributes, no policy, no symmetric cipher, ECDSA with SHA-256, P-256, no KDF.
const BEFORE_POINT = /^0023000b[0-9a-f]{8}000000100018000b00030010$/
const BEFORE_POINT_BYTES = 20
const COORDINATE_BYTES = 32
// TPMT_SIGNATURE: TPM_ALG_ECDSA, TPM_ALG_SHA256.
const ECDSA_SHA256 = 0x0018000b

/** The public key in a TPMT_PUBLIC made from one of our signing templates. @throws MetabindError TPM_FAULT */
export function p256PublicKey(publicArea: Uint8Array): KeyObject {
  const bytes = Buffer.from(publicArea)
  if (!BEFORE_POINT.test(bytes.toString('hex', 0, BEFORE_POINT_BYTES))) throw fault('public area')
  const [x, y] = twoNumbers(bytes.subarray(BEFORE_POINT_BYTES), 'point')
  const point = { x: x.toString('base64url'), y: y.toString('base64url') }
  return createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', ...point } })
}

/** r and s of a TPMT_SIGNATURE, 32 bytes each: the form of ES256 and of IEEE P1363. @throws MetabindError TPM_FAULT */
export function p256Signature(signature: Uint8Array): Buffer {
  const bytes = Buffer.from(signature)
  if (bytes.length < 4 || bytes.readUInt32BE(0) !== ECDSA_SHA256) throw fault('signature')
  return Buffer.concat(twoNumbers(bytes.subarray(4), 'signature'))
}

/** Two TPM2B of at most 32 bytes and nothing after; the TPM may leave leading zeros out. */
function twoNumbers(bytes: Buffer, what: string): [Buffer, Buffer] {
  const first = sized(bytes, what)
  const second = sized(bytes.subarray(2 + first.length), what)
  if (bytes.length !== 4 + first.length + second.length) throw fault(what)
  return [padded(first), padded(second)]
}

function sized(bytes: Buffer, what: string): Buffer {
  const length = bytes.length < 2 ? COORDINATE_BYTES + 1 : bytes.readUInt16BE(0)
  if (length > COORDINATE_BYTES || bytes.length < 2 + length) throw fault(what)
  return bytes.subarray(2, 2 + length)
}

function padded(number: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc(COORDINATE_BYTES - number.length), number])
}

function fault(what: string): MetabindError {
  return new MetabindError('TPM_FAULT', `its ${what} has another form than P-256`)
}
