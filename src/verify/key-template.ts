import { type ErrorCode, MetabindError } from '../errors.ts'
import { hexOf } from '../format/algorithms.ts'
import { ATTRIBUTE, parsePublic, type TpmPublic } from '../format/tpm-public.ts'

/**
 * Demands that a public area is made from a template: everything before `unique`, byte for byte.
 * That is type, nameAlg, attributes, authPolicy, scheme and curve at once, so that nobody has to
 * remember which of them an attacker could use: an unrestricted AK signs anything; one without
 * sensitiveDataOrigin or fixedTPM may be known outside; one with decrypt, or another policy, opens
 * other doors.
 *
 * @throws MetabindError `code`
 */
export function requireTemplate(key: TpmPublic, template: Uint8Array, code: ErrorCode): void {
  if (!isMadeFrom(key, template)) {
    throw new MetabindError(code, differenceOf(key, parsePublic(template)))
  }
}

export function isMadeFrom(key: TpmPublic, template: Uint8Array): boolean {
  return beforeUnique(key).equals(beforeUnique(parsePublic(template))) && hasFullUnique(key)
}

function beforeUnique(key: TpmPublic): Buffer {
  return key.bytes.subarray(0, key.uniqueOffset)
}

/** A template itself, or an empty key, is no key. */
export function hasFullUnique(key: TpmPublic): boolean {
  if (key.type === 'rsa') return key.modulus.length * 8 === key.keyBits
  if (key.type === 'ecc') return key.x.length > 0 && key.y.length > 0
  return key.unique.length > 0
}

function differenceOf(key: TpmPublic, wanted: TpmPublic): string {
  const differing = Object.entries(ATTRIBUTE)
    .filter(([, bit]) => ((key.attributes ^ wanted.attributes) & bit) !== 0)
    .map(([name, bit]) => `${name} ${(key.attributes & bit) === 0 ? 'clear' : 'set'}`)
  if (differing.length > 0) return `Found: ${differing.join(', ')}.`
  if (key.attributes !== wanted.attributes) return `Attributes ${hexOf(key.attributes, 8)}.`
  return 'Its type, algorithms, policy or size differ.'
}
