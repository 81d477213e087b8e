import { CborTagged, encodeCbor, parseStrictCbor } from '../format/strict-cbor.ts'
import type { ResultClaimsJson } from './result-claims.ts'
import type { ResultKey } from './result-key.ts'
import { cborOf, jsonOfCbor } from './result-labels.ts'
import { signatureBy } from './result-signature.ts'
import { malformed, type SignedResult } from './signed-result.ts'

/** Attestation results as CBOR Web Tokens (RFC 8392): COSE_Sign1 (RFC 9052, 4.2), with both of its tags. */

const TAG_CWT = 61
const TAG_COSE_SIGN1 = 18
/** The first byte of a tag of one byte: no text of ASCII begins with it. */
export const CWT_FIRST_BYTE = 0xd8

/** Header parameters (RFC 9052, 3.1; RFC 9596). */
const HEADER = { alg: 1, kid: 4, typ: 16 } as const
const TYPE = 'application/eat+cwt'

export function encodeCwt(claims: ResultClaimsJson, key: ResultKey): Buffer {
  const header = encodeCbor(
    new Map<number, unknown>([
      [HEADER.alg, key.algorithm.cose],
      [HEADER.kid, key.id],
      [HEADER.typ, TYPE],
    ]),
  )
  const payload = encodeCbor(cborOf(claims))
  const signature = signatureBy(key, signedBytesOf(header, payload))
  const sign1 = new CborTagged(TAG_COSE_SIGN1, [header, new Map(), payload, signature])
  return encodeCbor(new CborTagged(TAG_CWT, sign1))
}

/** Takes a token apart; its claims are nobody's before its signature was verified. @throws VerifyError VERIFY_RESULT */
export function parseCwt(bytes: Buffer): SignedResult {
  const sign1 = insideOf(TAG_COSE_SIGN1, insideOf(TAG_CWT, parsed(bytes, TAG_CWT, TAG_COSE_SIGN1)))
  if (!Array.isArray(sign1) || sign1.length !== 4) malformed('no COSE_Sign1')
  const [header, unprotected, payload, signature]: unknown[] = sign1
  const isWhole = isBytes(header) && isBytes(payload) && isBytes(signature)
  if (!isWhole) malformed('no COSE_Sign1')
  // What is not signed could be put there by anybody.
  if (!(unprotected instanceof Map) || unprotected.size > 0) malformed('an unprotected header')
  const alg = algorithmIn(parsed(header))
  return {
    isOfAlgorithm: ({ cose }) => cose === alg,
    signedBytes: signedBytesOf(header, payload),
    signature,
    claims: () => jsonOfCbor(parsed(payload)),
  }
}

/** Sig_structure (RFC 9052, 4.4). */
function signedBytesOf(header: Uint8Array, payload: Uint8Array): Buffer {
  return encodeCbor(['Signature1', header, new Uint8Array(), payload])
}

/** Other parameters are refused: `crit` and keys in the header would let the token choose how it is checked. */
function algorithmIn(header: unknown): unknown {
  if (!(header instanceof Map)) malformed('another header')
  const known: readonly unknown[] = Object.values(HEADER)
  const kid: unknown = header.get(HEADER.kid)
  const isOurs =
    [...header.keys()].every((key) => known.includes(key)) &&
    header.get(HEADER.typ) === TYPE &&
    (kid === undefined || (isBytes(kid) && kid.length <= 256))
  if (!isOurs) malformed('another header')
  return header.get(HEADER.alg)
}

function insideOf(tag: number, value: unknown): unknown {
  if (!(value instanceof CborTagged) || value.tag !== tag) return malformed(`no tag ${tag}`)
  return value.value
}

function parsed(bytes: Uint8Array, ...tags: readonly number[]): unknown {
  try {
    return parseStrictCbor(bytes, ...tags)
  } catch (error) {
    return malformed('not CBOR of one reading', error)
  }
}

function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array
}
