import { MetabindError } from '../errors.ts'
import { ALG, isStrongHash, RSA_BITS_MIN, tpmCurve } from '../format/algorithms.ts'
import { parsePublic, type TpmPublic } from '../format/tpm-public.ts'
import { AK_TEMPLATE } from '../format/tpm-templates.ts'
import { hasFullUnique } from './key-template.ts'

const OWN_ATTRIBUTES = parsePublic(AK_TEMPLATE).attributes
const RSA_BITS_MAX = 4096
/** 0 stands for 65537 too (Part 2, 12.2.3.5). */
const EXPONENTS: ReadonlySet<number> = new Set([0, 65537])

/**
 * Demands of an attestation key that is not made from the agent's template, but has a certificate, what
 * the template would say: the very same attributes, so that it is restricted, fixed to its TPM and made
 * by it, and no policy. Its scheme may be RSASSA, RSAPSS or ECDSA, with a hash that is not broken.
 *
 * @throws MetabindError VERIFY_AK_PUBLIC
 */
export function requireVouchedAk(key: TpmPublic): void {
  if (key.attributes !== OWN_ATTRIBUTES) refuse('other attributes')
  if (key.authPolicy.length > 0) refuse('a policy')
  if (!isStrongHash(key.nameAlg)) refuse('a weak hash of its Name')
  if (!hasFullUnique(key)) refuse('no key')
  if (key.type === 'rsa') requireRsa(key)
  else if (key.type === 'ecc') requireEcc(key)
  else refuse('no key that signs')
}

function requireRsa(key: TpmPublic & { readonly type: 'rsa' }): void {
  const { algorithm, hash } = key.scheme
  const isScheme = algorithm === ALG.RSASSA || algorithm === ALG.RSAPSS
  if (!isScheme || hash === undefined || !isStrongHash(hash)) refuse('another scheme')
  if (key.symmetric !== undefined) refuse('a symmetric cipher')
  if (key.keyBits < RSA_BITS_MIN || key.keyBits > RSA_BITS_MAX) refuse(`RSA of ${key.keyBits} bits`)
  if (!EXPONENTS.has(key.exponent)) refuse('another exponent than 65537')
}

function requireEcc(key: TpmPublic & { readonly type: 'ecc' }): void {
  const { algorithm, hash } = key.scheme
  if (algorithm !== ALG.ECDSA || hash === undefined || !isStrongHash(hash)) refuse('another scheme')
  if (key.symmetric !== undefined || key.kdf.algorithm !== ALG.NULL) refuse('a cipher or KDF')
  if (tpmCurve(key.curve) === undefined) refuse('another curve')
}

function refuse(what: string): never {
  throw new MetabindError('VERIFY_AK_PUBLIC', `Found: ${what}.`)
}
