import type { Claim } from '../verify/claims.ts'

/** The categories of AR4SI (draft-ietf-rats-ar4si-09, 2.3.4), with their keys in CBOR. */
export const TRUST_CATEGORIES = {
  'instance-identity': 0,
  configuration: 1,
  executables: 2,
  'file-system': 3,
  hardware: 4,
  'runtime-opaque': 5,
  'storage-opaque': 6,
  'sourced-data': 7,
} as const

export type TrustCategory = keyof typeof TRUST_CATEGORIES
export type TrustVector = Readonly<Partial<Record<TrustCategory, number>>>

/** The tiers of AR4SI (2.3.2), with their values in CBOR. The further down, the worse. */
export const TRUST_TIERS = { none: 0, affirming: 2, warning: 32, contraindicated: 96 } as const

export type TrustTier = keyof typeof TRUST_TIERS

/** What a value of the vector rests on. Without it the value is 0: nothing is asserted. */
interface Appraisal {
  readonly category: TrustCategory
  readonly value: number
  /** All of them must be proven. */
  readonly all: readonly Claim[]
  /** One of them must be, if there are any. */
  readonly oneOf: readonly Claim[]
}

/**
 * Every value rests on `ak-in-tpm`: without it all but the EK's certificate could be software's. Of executables
 * nothing is said: which code the PCRs of a policy stand for is not known here. docs/verify.md has this table.
 */
export const APPRAISALS: readonly Appraisal[] = [
  { category: 'hardware', value: 2, all: ['ak-in-tpm'], oneOf: [] },
  {
    category: 'instance-identity',
    value: 2,
    all: ['ak-in-tpm'],
    oneOf: ['instance-from-cloud', 'instance-from-ek'],
  },
  { category: 'configuration', value: 2, all: ['ak-in-tpm', 'pcr-policy'], oneOf: [] },
]

/** A vector, and for each value the claims that led to it: proven ones, or of a 0 those that are lacking. */
export interface Appraised {
  readonly vector: TrustVector
  readonly reasons: Readonly<Partial<Record<TrustCategory, readonly string[]>>>
}

export function appraise(proven: readonly Claim[]): Appraised {
  const appraised = APPRAISALS.map(({ category, value, all, oneOf }) => {
    const lacking = all.filter((claim) => !proven.includes(claim))
    const found = oneOf.filter((claim) => proven.includes(claim))
    const lackingToo = found.length === 0 ? oneOf : []
    const isAsserted = lacking.length === 0 && lackingToo.length === 0
    const reasons = isAsserted ? [...all, ...found] : [...lacking, ...lackingToo]
    return { category, value: isAsserted ? value : 0, reasons }
  })
  return {
    vector: Object.fromEntries(appraised.map(({ category, value }) => [category, value])),
    reasons: Object.fromEntries(appraised.map(({ category, reasons }) => [category, reasons])),
  }
}

/** The worst tier of a vector. Values of the tier `none` assert nothing, and count as if they were not there. */
export function worstTier(vector: TrustVector): TrustTier {
  const tiers = Object.keys(TRUST_TIERS) as TrustTier[]
  const worst = Math.max(0, ...Object.values(vector).map((value) => tiers.indexOf(tierOf(value))))
  return tiers[worst] ?? 'none'
}

/** AR4SI 2.3.2. Negative values are reasons that no standard names. */
function tierOf(value: number): TrustTier {
  if (value >= -1 && value <= 1) return 'none'
  if (value >= -32 && value <= 31) return 'affirming'
  if (value >= -96 && value <= 95) return 'warning'
  return 'contraindicated'
}
