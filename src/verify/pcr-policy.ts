import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { describe } from '../format/evidence.ts'
import { parseStrictJson } from '../format/strict-json.ts'
import { PCR_MAX } from '../format/tpm-pcr-selection.ts'
import type { PcrValues } from './pcr-quote.ts'

const POLICY_BYTES_MAX = 256 * 1024
const ALLOWED_MAX = 256

/** Digests of one bank: as many hex characters as its hash has. */
function bank(bytes: number) {
  const digest = z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`))
  const allowed = z.union([
    digest.transform((one) => [one]),
    z.array(digest).min(1).max(ALLOWED_MAX),
  ])
  const pcr = z.string().regex(/^(?:0|[1-9][0-9]?)$/)
  return z
    .record(pcr, allowed)
    .refine((values) => Object.keys(values).every((number) => Number(number) <= PCR_MAX))
    .refine((values) => Object.keys(values).length > 0)
    .optional()
}

// A bank of SHA-1 can be written to by whoever finds a collision; a policy cannot ask for it.
const policySchema = z
  .strictObject({
    format: z.literal('metabind pcr policy'),
    version: z.literal(1),
    pcrs: z.strictObject({ sha256: bank(32), sha384: bank(48), sha512: bank(64) }),
  })
  .refine(({ pcrs }) => Object.values(pcrs).some((values) => values !== undefined))

/** Which values PCRs may have: one, or one of several. */
export interface PcrPolicy {
  readonly banks: ReadonlySet<string>
  readonly rules: readonly {
    readonly bank: 'sha256' | 'sha384' | 'sha512'
    readonly pcr: number
    /** In hex. */
    readonly allowed: readonly string[]
  }[]
}

/** Reads a PCR policy file (docs/verify.md). @throws MetabindError VERIFY_PCR_POLICY_FILE */
export function parsePcrPolicy(file: Uint8Array): PcrPolicy {
  const parsed = policySchema.safeParse(jsonOf(file))
  if (!parsed.success) throw new MetabindError('VERIFY_PCR_POLICY_FILE', describe(parsed.error))
  const { pcrs } = parsed.data
  const rules = (['sha256', 'sha384', 'sha512'] as const).flatMap((name) =>
    Object.entries(pcrs[name] ?? {}).map(([pcr, allowed]) => ({
      bank: name,
      pcr: Number(pcr),
      allowed,
    })),
  )
  return { banks: new Set(rules.map((rule) => rule.bank)), rules }
}

function jsonOf(file: Uint8Array): unknown {
  if (file.length > POLICY_BYTES_MAX) {
    throw new MetabindError('VERIFY_PCR_POLICY_FILE', `Longer than ${POLICY_BYTES_MAX} bytes.`)
  }
  try {
    return parseStrictJson(file)
  } catch (error) {
    throw new MetabindError('VERIFY_PCR_POLICY_FILE', messageOf(error), error)
  }
}

/**
 * Every PCR that the policy names was quoted and has a value that it allows.
 *
 * @param quoted values whose digest the quote was found to carry
 * @throws MetabindError VERIFY_PCR_POLICY
 */
export function requirePcrPolicy(policy: PcrPolicy, quoted: PcrValues): void {
  for (const { bank: name, pcr, allowed } of policy.rules) {
    const value = quoted.get(name)?.get(pcr)?.toString('hex')
    if (value === undefined) refuse(`${name} PCR ${pcr} is not quoted`)
    if (!allowed.includes(value)) refuse(`${name} PCR ${pcr} is ${value}`)
  }
}

function messageOf(error: unknown): string {
  return error instanceof MetabindError ? (error.detail ?? error.message) : String(error)
}

function refuse(why: string): never {
  throw new MetabindError('VERIFY_PCR_POLICY', `Found: ${why}.`)
}
