import { fromBER, Integer, ObjectIdentifier, Sequence } from 'asn1js'
import { PublicKeyInfo } from 'pkijs'
import { MetabindError } from '../errors.ts'
import { KEY_OIDS, tpmCurve } from '../format/algorithms.ts'
import { leftPad } from '../format/tpm-key.ts'
import type { TpmPublic } from '../format/tpm-public.ts'

// Some makers say RSAES-OAEP for what the key is for; node:crypto would not load that.
const RSA_OIDS: ReadonlySet<string> = new Set([KEY_OIDS.rsa, KEY_OIDS.rsaOaep])

/**
 * Whether a certificate's SubjectPublicKeyInfo (DER) is the key of a TPMT_PUBLIC: modulus and
 * exponent, or curve and point. Without this the certificate of another TPM would vouch for any key.
 *
 * @throws MetabindError VERIFY_CERTIFICATE if it is no SubjectPublicKeyInfo
 */
export function isSameKey(spki: Buffer, key: TpmPublic): boolean {
  const info = parseSpki(spki)
  if (key.type === 'keyedhash') return false
  return key.type === 'rsa' ? isSameRsaKey(info, key) : isSameEccKey(info, key)
}

function parseSpki(spki: Buffer): PublicKeyInfo {
  try {
    return PublicKeyInfo.fromBER(Uint8Array.from(spki))
  } catch (error) {
    throw new MetabindError('VERIFY_CERTIFICATE', 'Its public key is malformed.', error)
  }
}

function isSameRsaKey(info: PublicKeyInfo, key: TpmPublic & { type: 'rsa' }): boolean {
  if (!RSA_OIDS.has(info.algorithm.algorithmId)) return false
  const { result } = fromBER(info.subjectPublicKey.valueBlock.valueHexView)
  if (!(result instanceof Sequence)) return false
  const [modulus, exponent] = result.valueBlock.value
  if (!(modulus instanceof Integer) || !(exponent instanceof Integer)) return false
  const expected = BigInt(key.exponent === 0 ? 65537 : key.exponent)
  return integerOf(modulus) === bigIntOf(key.modulus) && integerOf(exponent) === expected
}

function isSameEccKey(info: PublicKeyInfo, key: TpmPublic & { type: 'ecc' }): boolean {
  const curve = tpmCurve(key.curve)
  if (curve === undefined || info.algorithm.algorithmId !== KEY_OIDS.ec) return false
  const parameters: unknown = info.algorithm.algorithmParams
  if (!(parameters instanceof ObjectIdentifier) || parameters.getValue() !== curve.oid) return false
  const point = Buffer.from(info.subjectPublicKey.valueBlock.valueHexView)
  const coordinates = [leftPad(key.x, curve.bytes), leftPad(key.y, curve.bytes)]
  return point.equals(Buffer.concat([Uint8Array.of(4), ...coordinates]))
}

function integerOf(integer: Integer): bigint {
  return bigIntOf(integer.valueBlock.valueHexView)
}

function bigIntOf(bytes: Uint8Array): bigint {
  return BigInt(`0x0${Buffer.from(bytes).toString('hex')}`)
}
