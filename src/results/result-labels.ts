import { RESULT_SUBMODULE } from './result-claims.ts'
import { TRUST_CATEGORIES, TRUST_TIERS } from './result-vector.ts'
import { malformed } from './signed-result.ts'

/**
 * Claims as CBOR has them: numbers in place of the names (RFC 8392, RFC 9711, draft-ietf-rats-ear-04), byte
 * strings in place of base64url, numbers in place of tiers. Names of our own are text in both.
 */
interface Label {
  readonly key: number | string
  /** Text that stands for bytes or a tier, or claims within; all else is the same in both. */
  readonly holds?: 'bytes' | 'tier' | Labels
}

type Labels = Readonly<Record<string, Label>>

const VECTOR: Labels = Object.fromEntries(
  Object.entries(TRUST_CATEGORIES).map(([category, key]) => [category, { key }]),
)

const APPRAISAL: Labels = {
  eat_profile: { key: 265 },
  ear_status: { key: 1000, holds: 'tier' },
  ear_trustworthiness_vector: { key: 1001, holds: VECTOR },
  ear_appraisal_policy_ids: { key: 1003 },
  eat_nonce: { key: 10, holds: 'bytes' },
  ear_attester_claims: { key: 1005, holds: { ueid: { key: 256, holds: 'bytes' } } },
  ear_verifier_claims: { key: 1006, holds: {} },
}

const RESULT: Labels = {
  eat_profile: { key: 265 },
  iat: { key: 6 },
  exp: { key: 4 },
  nbf: { key: 5 },
  ear_status: { key: 1000, holds: 'tier' },
  ear_verifier_id: { key: 1004, holds: { developer: { key: 0 }, build: { key: 1 } } },
  eat_nonce: { key: 10, holds: 'bytes' },
  submods: {
    key: 266,
    holds: { [RESULT_SUBMODULE]: { key: RESULT_SUBMODULE, holds: APPRAISAL } },
  },
}

/** @param claims as JSON has them */
export function cborOf(claims: object): unknown {
  return toMap(claims, RESULT)
}

/** @returns the claims as JSON has them @throws VerifyError VERIFY_RESULT */
export function jsonOfCbor(claims: unknown): unknown {
  return fromMap(claims, RESULT)
}

function toMap(claims: object, labels: Labels): Map<number | string, unknown> {
  return new Map(
    Object.entries(claims).map(([name, value]) => {
      const { key, holds } = labelOf(labels, name) ?? { key: name }
      return [key, toCbor(value, holds)]
    }),
  )
}

function toCbor(value: unknown, holds: Label['holds']): unknown {
  if (holds === undefined) return value
  if (holds === 'bytes') return Buffer.from(String(value), 'base64url')
  if (holds === 'tier') return Object.entries(TRUST_TIERS).find(([tier]) => tier === value)?.[1]
  return toMap(Object(value), holds)
}

function fromMap(claims: unknown, labels: Labels): unknown {
  if (!(claims instanceof Map)) return malformed('no map of claims')
  const names = new Map(Object.entries(labels).map(([name, { key }]) => [key, name]))
  const members = [...claims].map(([key, value]: [unknown, unknown]) => {
    const name = names.get(key as number | string) ?? unlabelled(key, labels)
    return [name, fromCbor(value, labelOf(labels, name)?.holds)]
  })
  return Object.fromEntries(members)
}

/**
 * A claim of our own is called by its text. What else has no label gets a name that no claim has, and is not passed over:
 * where unknown members are refused, as a category is that may warn, it is too.
 */
function unlabelled(key: unknown, labels: Labels): string {
  const name = String(key)
  return labelOf(labels, name) === undefined ? name : `${name} as text`
}

function fromCbor(value: unknown, holds: Label['holds']): unknown {
  if (holds === undefined) return plain(value)
  if (holds === 'tier') return Object.entries(TRUST_TIERS).find(([, tier]) => tier === value)?.[0]
  if (holds !== 'bytes') return fromMap(value, holds)
  if (!(value instanceof Uint8Array)) return malformed('no byte string')
  return Buffer.from(value).toString('base64url')
}

/** Maps as objects. What JSON has not, the schema of the claims refuses. */
function plain(value: unknown): unknown {
  return value instanceof Map ? fromMap(value, {}) : value
}

function labelOf(labels: Labels, name: string): Label | undefined {
  return Object.hasOwn(labels, name) ? labels[name] : undefined
}
