import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { HASHES, hashAlgorithm, hexOf, type TpmHash, tpmHash } from './algorithms.ts'
import type { EventDigests, PcrEvent } from './pcr-event.ts'
import { EV_NO_ACTION, refuseLog } from './pcrs.ts'

/**
 * What a record of TCG's Canonical Event Log Format (version 1.0, by the public review of revision 0.30 and by
 * what implementations write) means for PCRs, whatever it is encoded in.
 */

/** Numbers of content types (Table 2; 9 since version 1.1). */
const CONTENT_TYPES: ReadonlyMap<string, number> = new Map([
  ['cel', 4],
  ['pcclient_std', 5],
  ['ima_template', 7],
  ['ima_tlv', 8],
  ['systemd', 9],
])
/** Management events that extend nothing: cel_version and firmware_end. */
const UNMEASURED: ReadonlySet<unknown> = new Set([1, 2, 'cel_version', 'firmware_end'])
const EVENT_TYPES: ReadonlyMap<string, number> = new Map([
  ['ev_no_action', EV_NO_ACTION],
  ['ev_efi_hcrtm_event', 0x8000_0010],
])

const handle = z.int().min(0).max(0xffff_ffff)
const nameOrNumber = z.union([z.string(), handle])
const bytes = z.instanceof(Uint8Array).transform((value) => Buffer.from(value))
const recordSchema = z
  .object({
    /** Covered by no PCR: what counts is the order of records. */
    recnum: z.int().min(0).optional(),
    pcr: handle.optional(),
    nv_index: handle.optional(),
    digests: z.array(z.object({ hashAlg: nameOrNumber, digest: bytes })).max(16),
    content_type: nameOrNumber,
    content: z.unknown(),
  })
  .refine(({ pcr, nv_index }) => (pcr === undefined) !== (nv_index === undefined))
const firmwareContent = z.object({ event_type: nameOrNumber, event_data: bytes })
const imaContent = z.object({ template_name: z.string(), template_data: bytes })

/**
 * @param record with its byte strings decoded, and members by their names
 * @returns undefined for a record that extends nothing
 * @throws MetabindError VERIFY_EVENT_LOG if it has another form
 */
export function celEvent(record: unknown): PcrEvent | undefined {
  const { pcr, nv_index, digests, content_type, content } = parsed(recordSchema, record)
  const nvIndex = nv_index === undefined ? undefined : hexOf(nv_index, 8)
  const said = contentOf(numberOf(CONTENT_TYPES, content_type), content)
  if (said === undefined) return undefined
  const { isZeroOnes = false, ...rest } = said
  return { log: 'cel', pcr, nvIndex, ...rest, digests: digestsOf(digests, isZeroOnes) }
}

interface Content {
  readonly type: number | string
  readonly data: Buffer
  /** Whether digests of zeros stand for ones: a violation, in IMA. */
  readonly isZeroOnes?: boolean
}

function contentOf(kind: number | string, content: unknown): Content | undefined {
  switch (kind) {
    case 4:
      return isUnmeasured(content) ? undefined : { type: 'cel', data: Buffer.alloc(0) }
    case 5: {
      const { event_type, event_data } = parsed(firmwareContent, content)
      return { type: numberOf(EVENT_TYPES, event_type), data: event_data }
    }
    case 7: {
      const { template_name, template_data } = parsed(imaContent, content)
      return { type: template_name, data: template_data, isZeroOnes: true }
    }
    default:
      return { type: `content ${kind}`, data: bytesIn(content) }
  }
}

const management = z.object({ type: z.unknown() })

function isUnmeasured(content: unknown): boolean {
  const { type } = parsed(management, content)
  return UNMEASURED.has(type)
}

function bytesIn(content: unknown): Buffer {
  return content instanceof Uint8Array ? Buffer.from(content) : Buffer.alloc(0)
}

/** The number of a name of either case; a name that has none here stays one. */
function numberOf(known: ReadonlyMap<string, number>, given: string | number): number | string {
  return typeof given === 'number' ? given : (known.get(given.toLowerCase()) ?? given)
}

/** By the name of their bank. Those of other hashes are left out; none may stand twice. */
export function digestsOf(
  listed: readonly { readonly hashAlg: string | number; readonly digest: Buffer }[],
  isZeroOnes = false,
): EventDigests {
  const digests = new Map<TpmHash['name'], Buffer>()
  for (const { hashAlg, digest } of listed) {
    const hash = hashOf(hashAlg)
    if (hash === undefined) continue
    if (digest.length !== hash.bytes || digests.has(hash.name)) refuseLog('a digest')
    const isZero = isZeroOnes && digest.every((byte) => byte === 0)
    digests.set(hash.name, isZero ? Buffer.alloc(hash.bytes, 0xff) : digest)
  }
  return digests
}

/** Of a TPM_ALG_ID or a name; undefined for one that is not known here. */
function hashOf(algorithm: string | number): TpmHash | undefined {
  if (typeof algorithm === 'number') return tpmHash(algorithm)
  return BY_NAME.get(algorithm.toLowerCase())
}

const BY_NAME: ReadonlyMap<string, TpmHash> = new Map(
  HASHES.flatMap((name) => {
    const hash = tpmHash(hashAlgorithm(name))
    return hash === undefined ? [] : [[name, hash]]
  }),
)

function parsed<Output>(schema: z.ZodType<Output>, value: unknown): Output {
  const result = schema.safeParse(value)
  return result.success ? result.data : refuseLog('a record of another form')
}

/** Hex of either case, as bytes. @throws MetabindError VERIFY_EVENT_LOG */
export function bytesOfHex(text: unknown): Buffer {
  const isHex = typeof text === 'string' && /^(?:[0-9A-Fa-f]{2})*$/.test(text)
  return isHex ? Buffer.from(text, 'hex') : refuseLog('no hex')
}

/** What is wrong with text or bytes is told as of a log. */
export function ofLog<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    const isOurs = error instanceof MetabindError && error.code === 'VERIFY_EVENT_LOG'
    if (isOurs) throw error
    throw new MetabindError('VERIFY_EVENT_LOG', 'Found: a log that cannot be read.', error)
  }
}
