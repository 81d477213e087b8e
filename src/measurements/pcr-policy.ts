import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { hashBytes, STRONG_HASHES, type StrongHash, type TpmHash } from '../format/algorithms.ts'
import { describe } from '../format/evidence.ts'
import { parseStrictJson } from '../format/strict-json.ts'
import { PCR_MAX } from '../format/tpm-pcr-selection.ts'
import { type SigningKey, signingKeyIn } from './signing-key.ts'

/** The PCR policy file (docs/verify.md). */

export const POLICY_FORMAT = 'metabind pcr policy'
const POLICY_BYTES_MAX = 256 * 1024
const ALLOWED_MAX = 256
const HASHES_MAX = 2048
const RULES_MAX = 64
const WHY_CHARACTERS_MAX = 2000
const PEM_CHARACTERS_MAX = 4096
export const REVISION_MAX = 0xffff_ffff

// A bank of SHA-1 can be written to by whoever finds a collision; a policy cannot ask for it.
export const POLICY_BANKS = STRONG_HASHES
export type PolicyBank = StrongHash

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

const pcr = z.int().min(0).max(PCR_MAX)
const pcrs = z
  .array(pcr)
  .max(PCR_MAX + 1)
  .default([])

const valuesSchema = z
  .strictObject({
    format: z.literal(POLICY_FORMAT),
    version: z.literal(1),
    pcrs: z.strictObject({ sha256: bank(32), sha384: bank(48), sha512: bank(64) }),
    replayed: pcrs,
  })
  .refine(({ pcrs }) => Object.values(pcrs).some((values) => values !== undefined))

const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
// How long they must be says the bank.
const digests = z.array(z.string().regex(/^(?:[0-9a-f]{2}){32,64}$/)).max(ALLOWED_MAX)
const pattern = z.string().regex(/^[\x21-\x7e]{1,256}$/)
const patterns = z.array(pattern).max(ALLOWED_MAX).optional()
/** For people: what the rule is there for. */
const why = z.string().max(WHY_CHARACTERS_MAX).optional()

const ruleSchema = z.discriminatedUnion('rule', [
  z.strictObject({ rule: z.literal('values'), pcr, allowed: digests.min(1), why }),
  z.strictObject({ rule: z.literal('digests'), pcr, allowed: digests.min(1), why }),
  z.strictObject({ rule: z.literal('secure-boot'), why }),
  z.strictObject({
    rule: z.literal('signature-database'),
    database: z.enum(['PK', 'KEK', 'db', 'dbx']),
    /** SHA-256 of the variable's contents. */
    allowed: z.array(sha256).min(1).max(ALLOWED_MAX).optional(),
    /** SHA-256 of images that must be in it. */
    contains: z.array(sha256).min(1).max(HASHES_MAX).optional(),
    why,
  }),
  z.strictObject({
    rule: z.literal('boot-authorities'),
    allowed: z
      .array(
        z.union([
          z.strictObject({ certificate: sha256 }),
          z.strictObject({ contents: sha256 }),
          z.strictObject({ commonName: z.string().min(1).max(256) }),
        ]),
      )
      .min(1)
      .max(ALLOWED_MAX),
    why,
  }),
  z.strictObject({
    rule: z.literal('kernel-command-line'),
    from: z.enum(['grub', 'systemd']),
    /** If it stands, each word fits one of these. */
    allowed: patterns,
    /** Each of these fits a word. */
    required: patterns,
    /** No word fits one of these. */
    forbidden: patterns,
    /** Digests of what else systemd measures into PCR 12. */
    others: digests.optional(),
    why,
  }),
  z.strictObject({
    rule: z.literal('signed-pcrs'),
    pcrs: z.array(pcr.max(23)).min(1).max(24),
    publicKey: z.string().max(PEM_CHARACTERS_MAX),
    /** The policy reference that must be signed along with the values. */
    ref: z.string().min(1).max(256).optional(),
    why,
  }),
])

const rulesSchema = z.strictObject({
  format: z.literal(POLICY_FORMAT),
  version: z.literal(2),
  /** Goes up with each policy that replaces another. */
  revision: z.int().min(1).max(REVISION_MAX).optional(),
  notBefore: z.iso.datetime().optional(),
  notAfter: z.iso.datetime().optional(),
  bank: z.enum(POLICY_BANKS),
  replayed: pcrs,
  why,
  rules: z.array(ruleSchema).min(1).max(RULES_MAX),
})

/** What must hold of one bank. */
export type PolicyRule = WithKey<z.output<typeof ruleSchema>> & { readonly bank: PolicyBank }
type WithKey<T> = T extends { readonly rule: 'signed-pcrs' } ? T & { readonly key: SigningKey } : T

/** A policy of either version; every rule of it must hold. */
export interface PcrPolicy {
  /** PCRs to whose values logs must lead. */
  readonly replayed: readonly number[]
  readonly banks: ReadonlySet<string>
  readonly rules: readonly PolicyRule[]
  /** 0 if it has none. */
  readonly revision: number
  /** In milliseconds since 1970. */
  readonly notBeforeMs: number | undefined
  readonly notAfterMs: number | undefined
}

/** Reads a PCR policy file (docs/verify.md). @throws MetabindError VERIFY_PCR_POLICY_FILE */
export function parsePcrPolicy(file: Uint8Array): PcrPolicy {
  const json = jsonOf(file)
  const isOfValues = z.object({ version: z.literal(1) }).safeParse(json).success
  return isOfValues ? policyOfValues(json) : policyOfRules(json)
}

function policyOfValues(json: unknown): PcrPolicy {
  const { pcrs: values, replayed } = parsed(valuesSchema, json)
  const rules = POLICY_BANKS.flatMap((name) =>
    Object.entries(values[name] ?? {}).map(([number, allowed]) => ({
      rule: 'values' as const,
      bank: name,
      pcr: Number(number),
      allowed,
    })),
  )
  const banks = new Set(rules.map((rule) => rule.bank))
  return { replayed, banks, rules, revision: 0, notBeforeMs: undefined, notAfterMs: undefined }
}

function policyOfRules(json: unknown): PcrPolicy {
  const {
    bank: name,
    rules,
    replayed,
    revision = 0,
    notBefore,
    notAfter,
  } = parsed(rulesSchema, json)
  return {
    replayed,
    banks: new Set([name]),
    rules: rules.map((rule, at) => {
      requireSense(rule, name, `rules.${at}`)
      if (rule.rule !== 'signed-pcrs') return { ...rule, bank: name }
      const key = signingKeyIn(rule.publicKey)
      // systemd-measure names the hash that it signs with: a key that has one of its own signs nothing there.
      if (key?.hash === undefined) {
        return malformed(`rules.${at}.publicKey: no key of RSA or ECDSA that may sign.`)
      }
      return { ...rule, bank: name, key }
    }),
    revision,
    notBeforeMs: notBefore === undefined ? undefined : Date.parse(notBefore),
    notAfterMs: notAfter === undefined ? undefined : Date.parse(notAfter),
  }
}

/** What says nothing would hold always: it is a mistake. */
function requireSense(rule: z.output<typeof ruleSchema>, name: TpmHash['name'], at: string): void {
  const bytes = hashBytes(name)
  const isOfBank = (list: readonly string[] = []) => list.every((one) => one.length === 2 * bytes)
  switch (rule.rule) {
    case 'values':
    case 'digests':
      if (!isOfBank(rule.allowed)) malformed(`${at}.allowed: not of ${name}.`)
      break
    case 'signature-database':
      if (!rule.allowed && !rule.contains) malformed(`${at}: neither allowed nor contains.`)
      break
    case 'kernel-command-line':
      if (!rule.allowed && !rule.required && !rule.forbidden) malformed(`${at}: no words.`)
      if (!isOfBank(rule.others)) malformed(`${at}.others: not of ${name}.`)
      break
  }
}

function parsed<T extends z.ZodType>(schema: T, json: unknown): z.output<T> {
  const result = schema.safeParse(json)
  if (!result.success) malformed(describe(result.error))
  return result.data
}

/** @throws MetabindError VERIFY_PCR_POLICY_FILE */
export function requirePolicySize(file: Uint8Array): void {
  if (file.length > POLICY_BYTES_MAX) malformed(`Longer than ${POLICY_BYTES_MAX} bytes.`)
}

function jsonOf(file: Uint8Array): unknown {
  requirePolicySize(file)
  try {
    return parseStrictJson(file)
  } catch (error) {
    const why = error instanceof MetabindError ? (error.detail ?? error.message) : String(error)
    return malformed(why, error)
  }
}

function malformed(why: string, cause?: unknown): never {
  throw new MetabindError('VERIFY_PCR_POLICY_FILE', why, cause)
}
