import { z } from 'zod'
import { ERRORS } from './error-table.ts'
import type { ErrorCode } from './errors.ts'
import { BIND_BYTES_MAX, NONCE_BYTES_MAX, NONCE_BYTES_MIN } from './format/evidence.ts'
import { snapshotParts } from './snapshot-api.ts'

/**
 * The calls of the admin socket: what is asked and what is answered, for the agent and for the command
 * line. docs/admin.md describes them.
 *
 * The agent judges requests strictly: a member that it does not know could be meant to restrict what it
 * does. The command line judges answers by what it reads of them, as it may be older than the agent:
 * states, modes and codes that it only prints are strings here.
 */

export const ADMIN_PREFIX = '/metabind/v1/'

/** How a call is made, and what comes back. */
export interface AdminRoute<Answer> {
  readonly method: 'GET' | 'POST'
  readonly name: string
  readonly answer: z.ZodType<Answer>
}

/** A call that only asks. */
export interface AdminRead<Answer> extends AdminRoute<Answer> {
  readonly method: 'GET'
}

/** A call with a request in its body. */
export interface AdminCall<Request extends object, Answer> extends AdminRoute<Answer> {
  readonly method: 'POST'
  readonly request: z.ZodType<Request>
}

const read = <Answer>(name: string, answer: z.ZodType<Answer>): AdminRead<Answer> => ({
  method: 'GET',
  name,
  answer,
})

const call = <Request extends object, Answer>(
  name: string,
  request: z.ZodType<Request>,
  answer: z.ZodType<Answer>,
): AdminCall<Request, Answer> => ({ method: 'POST', name, request, answer })

/** UTC, ISO 8601. */
const time = z.string()
const words = z.array(z.string()).readonly()

/** A role that the cloud gives no credentials for, and the Code that it gives instead, as last asked. */
const refusedRole = z.object({
  path: z.string().regex(/^[\x21-\x7e]{1,2048}$/),
  code: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/),
})
export type RefusedRole = z.infer<typeof refusedRole>

/** What the agent knows of lockdown. */
const lockdownKnown = z.object({
  /** enforce, observe or off; unknown: nobody has told since the agent started, and nothing was redirected to it. */
  state: z.string(),
  since: time.optional(),
  /** When the kernel rolls back unless it is confirmed. */
  until: time.optional(),
  /** Connections that rules brought here since the agent started. */
  redirected: z.number(),
})
export type LockdownKnown = z.infer<typeof lockdownKnown>

/** How the instance stands with the registrar of its fleet. */
const registrarStatus = z.object({
  url: z.string(),
  /** enrolled; held until it is approved there; waiting; refused until somebody acts there. */
  state: z.string(),
  /** What tokens call the instance. */
  subject: z.string().optional(),
  /** When the enrolment is over. */
  expires: time.optional(),
  /** Why the last attempt came to nothing. */
  problem: z.object({ code: z.string(), sentence: z.string(), remedy: z.string() }).optional(),
  /** When the agent asks again. */
  next: time,
})
export type RegistrarStatus = z.infer<typeof registrarStatus>

const agentStatus = z.object({
  version: z.string(),
  /** Of src/agent/startup.ts; stopped: it was ready, and issues and accepts nothing. */
  state: z.string(),
  ready: z.boolean(),
  /** What it waits for or stopped on. */
  problem: z.object({ code: z.string(), sentence: z.string(), remedy: z.string() }).optional(),
  identity: z
    .object({
      dialect: z.string(),
      instanceId: z.string(),
      iid: z.string(),
      ekName: z.string(),
      akName: z.string(),
    })
    .optional(),
  tpm: z.object({
    tcti: z.string(),
    ek: z.string().optional(),
    /** NV indices of the EK that are there and could not be read, each with why. */
    unreadable: words.optional(),
  }),
  /** What the self-test proved, and what this platform does not have. */
  selfTest: z.object({ anchor: z.string(), proven: words, lacked: words }).optional(),
  source: z.object({
    dialect: z.string(),
    endpoint: z.string(),
    refusedRoles: z.array(refusedRole).readonly().optional(),
  }),
  /** Only if one is configured, from when the agent is ready. */
  registrar: registrarStatus.optional(),
  policy: z.object({ mode: z.string(), from: z.string(), rules: z.number() }),
  sockets: z.object({ metadata: z.string(), admin: z.string() }),
  /** Only if the agent listens for redirected callers. */
  lockdown: lockdownKnown.optional(),
  /** The end of the audit chain in the file, if there is one. */
  audit: z
    .object({ file: z.string(), seq: z.number(), head: z.string().regex(/^[0-9a-f]{64}$/) })
    .optional(),
})
export type AgentStatus = z.infer<typeof agentStatus>

/** What one user's processes, of one unit, have asked the metadata service for directly. */
const observed = z.object({
  /** Left out if nobody could be named for the connection. */
  uid: z.number().optional(),
  unit: z.string().optional(),
  container: z.string().optional(),
  /** `own`: that of a container. */
  network: z.enum(['host', 'own']),
  /** Whether its cgroup was found: else lockdown would refuse it. */
  isPlaced: z.boolean(),
  tokenRequests: z.number(),
  readsWithToken: z.number(),
  readsWithoutToken: z.number(),
  /** The last path, without its query. */
  lastPath: z.string(),
  lastSeen: time,
})
export type Observed = Readonly<z.infer<typeof observed>>

/** All that the status page shows, in one piece; nothing in it is secret. */
const snapshot = z.object({
  /** Of this shape: another number when members mean something else. */
  snapshot: z.number(),
  at: time,
  status: agentStatus,
  ...snapshotParts,
  /** Who asks the metadata service directly, as observed. */
  direct: z.array(observed).readonly(),
  directMore: z.number(),
  /** Of all of them, those that read without a token. */
  directTokenless: z.number(),
})
export type Snapshot = z.infer<typeof snapshot>

// Of a file that holds no token, the command sends the beginning, and learns that it is none.
const TEXT_CHARACTERS_MAX = 8192
const tokenRequest = z.strictObject({ token: z.string().max(TEXT_CHARACTERS_MAX) })

/** What is said of a session token: the answer of the metadata socket as well. */
export const inspectionAnswer = z.discriminatedUnion('valid', [
  z.object({
    valid: z.literal(true),
    iid: z.string(),
    uid: z.number(),
    boundToUid: z.boolean(),
    boundToUnit: z.boolean(),
    secondsLeft: z.number(),
  }),
  z.object({
    valid: z.literal(false),
    code: z.string().refine((code): code is ErrorCode => Object.hasOwn(ERRORS, code)),
    sentence: z.string(),
    detail: z.string().optional(),
  }),
])
export type Inspection = z.infer<typeof inspectionAnswer>

const id = z.int().min(0).max(4_294_967_295)
const name = z.string().max(512)

/** A caller and a path to decide about. What is left out, the caller has not. */
const explainRequest = z.strictObject({
  uid: id,
  gid: id,
  groups: z.array(id).max(65_536).readonly(),
  path: z.string().max(4096),
  unit: name.optional(),
  executable: name.optional(),
  container: name.optional(),
  /** Whether to look for the path as well. */
  look: z.boolean().optional(),
})
export type ExplainRequest = z.infer<typeof explainRequest>

/** A caller, and the request elsewhere that a proof would be for. */
const explainProofRequest = explainRequest.omit({ path: true, look: true }).extend({
  url: z.string().max(4096),
  /** Left out: of a proof that is good for all methods. */
  method: z.string().max(64).optional(),
})
export type ExplainProofRequest = z.infer<typeof explainProofRequest>

const explanation = z.object({
  allowed: z.boolean(),
  /** The number of the rule that decided; `default` if none did. */
  rule: z.union([z.number(), z.literal('default')]),
  why: z.string(),
  /** Of the policy. */
  mode: z.string(),
  path: z.string(),
  /** Whether there is anything at the path; left out if nobody looked, or the source does not say. */
  known: z.boolean().optional(),
  /** The rules before the one that decided, and what in each does not match. */
  passedOver: z
    .array(z.object({ rule: z.number(), name: z.string(), mismatch: z.string() }))
    .readonly(),
})
export type Explanation = z.infer<typeof explanation>

/** What callers are told of themselves, on the metadata socket: nothing of rules that do not decide. */
export const ownExplanationAnswer = explanation.omit({ passedOver: true })
export type OwnExplanation = z.infer<typeof ownExplanationAnswer>

const proofExplanation = explanation
  .omit({ mode: true, path: true, known: true })
  .extend({ url: z.string(), method: z.string().optional() })
export type ProofExplanation = z.infer<typeof proofExplanation>

export const ownProofExplanationAnswer = proofExplanation.omit({ passedOver: true })
export type OwnProofExplanation = z.infer<typeof ownProofExplanationAnswer>

export const LOCKDOWN_SECONDS_MAX = 7 * 24 * 3600

/** A change that has been made to the rules. */
const lockdownChange = z.discriminatedUnion('change', [
  z.strictObject({
    change: z.literal('on'),
    mode: z.enum(['enforce', 'observe']),
    containers: z.enum(['refuse', 'leave', 'redirect']),
    forSeconds: z.int().min(1).max(LOCKDOWN_SECONDS_MAX).optional(),
  }),
  z.strictObject({ change: z.literal('confirm') }),
  z.strictObject({ change: z.literal('off') }),
])
export type LockdownChange = z.infer<typeof lockdownChange>

const hex = (bytesMin: number, bytesMax: number) =>
  z
    .string()
    .regex(/^([0-9a-f]{2})*$/)
    .min(2 * bytesMin)
    .max(2 * bytesMax)
const qualifier = z.strictObject({
  nonce: hex(NONCE_BYTES_MIN, NONCE_BYTES_MAX),
  bind: hex(1, BIND_BYTES_MAX).optional(),
})
/** A document that is carried to a verifier, who judges it: docs/evidence.md. */
const carried = z.unknown()

export const ADMIN_CALLS = {
  status: read('status', agentStatus),
  observed: read('observed', z.array(observed).readonly()),
  inspect: call('inspect', tokenRequest, inspectionAnswer),
  revoke: call(
    'revoke',
    z.union([z.strictObject({ all: z.literal(true) }), tokenRequest]),
    z.object({ revoked: z.enum(['all', 'one']) }),
  ),
  evidence: call('evidence', qualifier, carried),
  activate: call('activate', z.strictObject({ challenge: z.string().max(16_384) }), carried),
  explain: call('explain', explainRequest, explanation),
  explainproof: call('explainproof', explainProofRequest, proofExplanation),
  lockdown: call('lockdown', lockdownChange, lockdownKnown),
  snapshot: read('snapshot', snapshot),
  acknowledge: call(
    'acknowledge',
    z.strictObject({ alarm: z.int().min(1) }),
    z.object({ acknowledged: z.boolean() }),
  ),
}
