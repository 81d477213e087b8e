/** What can be made to go wrong, and for which requests. */
import { z } from 'zod'
import { issueInWords } from '../format/schema-issue.ts'

const where = {
  /** Applies to paths that begin with this, `//` already collapsed; absent: to all. */
  path: z.string().startsWith('/').optional(),
  /** Applies to this method only, in capitals. */
  method: z
    .string()
    .regex(/^[A-Z]+$/)
    .optional(),
  /** Ends after so many requests; absent: stays until cleared. */
  times: z.int().positive().optional(),
}

const fault = z.discriminatedUnion('kind', [
  /** Answers later by this many milliseconds. */
  z.strictObject({ kind: z.literal('latency'), ms: z.number().nonnegative(), ...where }),
  /** Answers with this status instead. */
  z.strictObject({
    kind: z.literal('status'),
    code: z.int().min(200).max(599),
    body: z.string().optional(),
    headers: z.record(z.string(), z.string()).optional(),
    ...where,
  }),
  /** Content-Length tells the truth, the body stops short (at half), the connection ends. */
  z.strictObject({
    kind: z.literal('truncate'),
    bodyBytes: z.int().nonnegative().optional(),
    ...where,
  }),
  /** Sends nothing, or headers and half the body, and leaves the connection open. */
  z.strictObject({
    kind: z.literal('stall'),
    at: z.enum(['headers', 'body']).optional(),
    ...where,
  }),
  /** Ends the connection without an answer, in order or by a reset of TCP. */
  z.strictObject({ kind: z.literal('reset'), by: z.enum(['fin', 'rst']).optional(), ...where }),
  /** Sends bytes that are not HTTP, or a body of random bytes. */
  z.strictObject({
    kind: z.literal('garbage'),
    at: z.enum(['response', 'body']).optional(),
    ...where,
  }),
  /** Sends a body of this many bytes (16 MiB), with or without saying so in Content-Length. */
  z.strictObject({
    kind: z.literal('oversize'),
    bytes: z.int().positive().optional(),
    framing: z.enum(['length', 'chunked']).optional(),
    ...where,
  }),
  /** 200 with a body of no bytes. */
  z.strictObject({ kind: z.literal('empty'), ...where }),
  /** Changes the RAM credentials in an answer. */
  z.strictObject({
    kind: z.literal('credentials'),
    /** Expired a second ago. */
    expired: z.literal(true).optional(),
    /** Leaves this member out. */
    missing: z
      .enum([
        'AccessKeyId',
        'AccessKeySecret',
        'Expiration',
        'SecurityToken',
        'LastUpdated',
        'Code',
        // The names of the ec2 service.
        'SecretAccessKey',
        'Token',
      ])
      .optional(),
    /** The value of the member Code. */
    code: z.string().optional(),
    /** Moves both times, as if the cloud's clock were off by this. */
    skewSeconds: z.number().optional(),
    ...where,
  }),
  /** Forgets every token issued so far, before the request is looked at. */
  z.strictObject({ kind: z.literal('reject-tokens'), ...where }),
])

export type Fault = z.infer<typeof fault>
export type FaultOf<Kind extends Fault['kind']> = Extract<Fault, { kind: Kind }>

/** Parses a fault from JSON text; throws an Error that says in one line what is wrong with it. */
export function parseFault(json: string): Fault {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw new Error(`is not JSON: ${json}`, { cause })
  }
  return checkFault(value)
}

/** As {@link parseFault}, for a value. */
function checkFault(value: unknown): Fault {
  const result = fault.safeParse(value)
  if (result.success) return result.data
  const problems = result.error.issues.map((issue) => {
    const unknown = issue.code === 'unrecognized_keys' ? issue.keys : []
    const member = [...issue.path, ...unknown].join('.')
    return `${member}${member === '' ? '' : ': '}${issueInWords(issue)}`
  })
  throw new Error(`is not a fault: ${problems.join('; ')}`)
}

/** The faults that are on, in the order in which they were set. */
export interface FaultList {
  set(fault: Fault): void
  clear(): void
  list(): readonly Fault[]
  /** The faults that this request meets; each counts the request. */
  take(method: string, path: string): readonly Fault[]
}

/** The kinds after which there is no answer left to alter: the first such fault decides. */
const DECIDING: ReadonlySet<Fault['kind']> = new Set([
  'status',
  'truncate',
  'stall',
  'reset',
  'garbage',
  'oversize',
  'empty',
])

export function faultList(): FaultList {
  let active: Fault[] = []
  const set = (fault: Fault) => {
    active.push(checkFault(fault))
  }
  const clear = () => {
    active = []
  }
  const take = (method: string, path: string) => {
    const met = upToDeciding(active.filter((fault) => applies(fault, method, path)))
    active = active.flatMap((fault) => (met.includes(fault) ? countDown(fault) : [fault]))
    return met
  }
  return { set, clear, list: () => active, take }
}

/** Several may alter an answer, one decides it; the others that would wait for a later request. */
function upToDeciding(faults: readonly Fault[]): readonly Fault[] {
  const deciding = faults.find((fault) => DECIDING.has(fault.kind))
  return faults.filter((fault) => fault === deciding || !DECIDING.has(fault.kind))
}

function applies(fault: Fault, method: string, path: string): boolean {
  if (fault.kind === 'credentials' && !isCredentialPath(path)) return false
  return (fault.method ?? method) === method && path.startsWith(fault.path ?? '/')
}

function isCredentialPath(path: string): boolean {
  return /\/(ram|iam)\/security-credentials\/[^/]+$/.test(path)
}

function countDown(fault: Fault): Fault[] {
  if (fault.times === undefined) return [fault]
  return fault.times > 1 ? [{ ...fault, times: fault.times - 1 }] : []
}
