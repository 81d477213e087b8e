import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { EK_KINDS } from './algorithms.ts'
import { DIALECT_NAMES } from './dialect-name.ts'
import { base64Bytes, hexBytes } from './json-codec.ts'
import { LOG_NAMES } from './pcr-event.ts'
import { parseStrictJson } from './strict-json.ts'
import { ATTEST_BYTES_MAX } from './tpm-attest.ts'
import { PCR_MAX } from './tpm-pcr-selection.ts'
import { PUBLIC_BYTES_MAX } from './tpm-public.ts'
import { SIGNATURE_BYTES_MAX } from './tpm-signature.ts'

/** The evidence document: what an instance hands to a verifier. docs/evidence.md describes it. */

const EVIDENCE_FORMAT = 'metabind evidence'
const EVIDENCE_VERSION = 2
/** Of the whole document, in bytes of JSON. */
export const EVIDENCE_BYTES_MAX = 4 * 1024 * 1024
export const EVENT_LOG_BYTES_MAX = 1024 * 1024
export const SYSTEMD_LOG_BYTES_MAX = 256 * 1024
export const IMA_LOG_BYTES_MAX = 1024 * 1024
export const CEL_BYTES_MAX = 256 * 1024
export const CERTIFICATE_BYTES_MAX = 16 * 1024
export const CERTIFICATES_MAX = 8
const PKCS7_BYTES_MAX = 16 * 1024
export const NONCE_BYTES_MIN = 16
export const NONCE_BYTES_MAX = 64
export const BIND_BYTES_MAX = 64

/** What an EK is. */

/** The keys whose residence the AK certifies, by the label that goes into what is signed. */
export const CERTIFIED_KEYS = ['RK', 'BK', 'SK'] as const
export type CertifiedKey = (typeof CERTIFIED_KEYS)[number]

const publicArea = base64Bytes(1, PUBLIC_BYTES_MAX)
const attestation = {
  attest: base64Bytes(1, ATTEST_BYTES_MAX),
  signature: base64Bytes(1, SIGNATURE_BYTES_MAX),
}
const certificates = z.array(base64Bytes(1, CERTIFICATE_BYTES_MAX)).max(CERTIFICATES_MAX).readonly()
const certification = z.strictObject({
  public: publicArea,
  ...attestation,
  hierarchy: z.enum(['endorsement', 'null', 'owner', 'platform']),
})
// Keys are PCR numbers without leading zeros, so that none stands twice.
const pcrNumber = z.string().regex(/^(?:0|[1-9][0-9]?)$/)
const bank = z
  .record(pcrNumber, hexBytes(20, 64))
  .refine((values) => Object.keys(values).every((pcr) => Number(pcr) <= PCR_MAX))

export const evidenceSchema = z.strictObject({
  format: z.literal(EVIDENCE_FORMAT),
  version: z.literal(EVIDENCE_VERSION),
  nonce: hexBytes(NONCE_BYTES_MIN, NONCE_BYTES_MAX),
  bind: hexBytes(1, BIND_BYTES_MAX).optional(),
  dialect: z.enum(DIALECT_NAMES),
  instanceId: z.string().regex(/^[A-Za-z0-9._-]{1,128}$/),
  ek: z.strictObject({
    kind: z.enum(EK_KINDS),
    public: publicArea,
    /** Leaf first, then what its issuers left in NV, in any order. */
    certificates,
  }),
  ak: z.strictObject({ public: publicArea, certificates: certificates.optional() }),
  quote: z.strictObject(attestation),
  pcrs: z.strictObject({
    sha1: bank.optional(),
    sha256: bank.optional(),
    sha384: bank.optional(),
    sha512: bank.optional(),
  }),
  certifications: z.strictObject({ RK: certification, BK: certification, SK: certification }),
  eventLog: base64Bytes(0, EVENT_LOG_BYTES_MAX).optional(),
  logs: z
    .strictObject({
      systemd: base64Bytes(0, SYSTEMD_LOG_BYTES_MAX).optional(),
      ima: base64Bytes(0, IMA_LOG_BYTES_MAX).optional(),
      cel: base64Bytes(1, CEL_BYTES_MAX).optional(),
      /** What the instance has and could not put in. */
      leftOut: z.array(z.enum(LOG_NAMES)).max(LOG_NAMES.length).optional(),
    })
    .optional(),
  identityDocument: z.strictObject({ pkcs7: base64Bytes(1, PKCS7_BYTES_MAX) }).optional(),
})

/** An evidence document, its bytes decoded. Nothing in it is verified. */
export type Evidence = z.output<typeof evidenceSchema>

/** The document as JSON text, one line. */
export function encodeEvidence(evidence: Evidence): string {
  return `${JSON.stringify(z.encode(evidenceSchema, evidence))}\n`
}

/**
 * Reads an evidence document: size, then JSON, then format and version, then every member.
 *
 * @throws MetabindError VERIFY_SIZE, VERIFY_FORMAT, VERIFY_VERSION
 */
export function decodeEvidence(bytes: Uint8Array): Evidence {
  if (bytes.length > EVIDENCE_BYTES_MAX) throw new MetabindError('VERIFY_SIZE')
  return evidenceOfJson(parseStrictJson(bytes))
}

/**
 * The same of what was parsed already, as a part of another document.
 *
 * @param json from parseStrictJson, of text that was bounded
 * @throws MetabindError VERIFY_FORMAT, VERIFY_VERSION
 */
export function evidenceOfJson(json: unknown): Evidence {
  const head = z.object({ format: z.literal(EVIDENCE_FORMAT), version: z.number() }).safeParse(json)
  if (!head.success) throw new MetabindError('VERIFY_FORMAT', describe(head.error))
  if (head.data.version !== EVIDENCE_VERSION) {
    throw new MetabindError('VERIFY_VERSION', `version ${head.data.version}.`)
  }
  const evidence = evidenceSchema.safeParse(json)
  if (!evidence.success) throw new MetabindError('VERIFY_FORMAT', describe(evidence.error))
  return evidence.data
}

/** The first thing wrong, without the hostile value. */
export function describe(error: z.ZodError): string {
  const [issue] = error.issues
  if (issue === undefined) return ''
  const where = issue.path.map(String).join('.').slice(0, 80)
  return `${where === '' ? 'document' : where}: ${whatIsWrong(issue)}.`
}

const PLAIN_NAME = /^[A-Za-z0-9_-]{1,40}$/

function whatIsWrong(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_union') return 'none of what it may be'
  if (issue.code !== 'unrecognized_keys') return issue.code.replaceAll('_', ' ')
  const [name = ''] = issue.keys
  return PLAIN_NAME.test(name) ? `unknown member ${name}` : 'unknown member'
}
