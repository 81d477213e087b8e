import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Audit } from '../audit/audit.ts'
import { callerOf } from '../caller/connection.ts'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { asMetabindError, errorResponse } from '../http/error-response.ts'
import { sendResponse } from '../http/response.ts'
import { type HttpBounds, httpServer } from '../http/server.ts'
import type { RefusedRole } from '../metadata/role-refusals.ts'
import { explain, explainBody } from '../policy/explain.ts'
import type { Policy } from '../policy/policy.ts'
import { type LockdownKnown, type LockdownRecord, lockdownBody } from '../relay/lockdown-record.ts'
import type { Observed } from '../relay/observed-table.ts'
import {
  auditForeign,
  type Inspection,
  type InspectionDeps,
  inspectToken,
} from '../token/inspection.ts'
import type { Metrics } from './prometheus.ts'

/** What the admin socket can do. Who may connect is decided by the mode and group of the socket. */
export interface AdminDeps {
  readonly bounds: HttpBounds
  readonly status: () => AgentStatus
  /** The running agent, or undefined before it is ready. */
  readonly running: () => RunningAgent | undefined
  /** The policy in force. */
  readonly policy: () => Policy
  /** Who asked the metadata service directly while lockdown was observing. */
  readonly observed: () => readonly Observed[]
  readonly lockdown: LockdownRecord
  readonly audit: Audit
  readonly metrics: Metrics
  readonly logFault: (error: MetabindError) => void
}

/** What the admin socket needs of an agent that is ready. */
export interface RunningAgent extends InspectionDeps {
  /** Evidence of the instance identity for a nonce, as JSON. */
  readonly evidence: (nonce: Buffer) => Promise<string>
  /** The answer to a verifier's challenge, both as JSON. */
  readonly activate: (challenge: string) => Promise<string>
  /** Whether there is anything at a canonical path; undefined if the source does not say. */
  readonly knows: (path: string) => Promise<boolean | undefined>
  /** @throws MetabindError AGENT_STOPPED */
  readonly requireRunning: () => void
  revokeAll(): Promise<void>
  revokeToken(random: string, expiresAtMs: number): void
}

/** The answer of /metabind/v1/status. */
export interface AgentStatus {
  readonly version: string
  readonly state:
    | 'opening-tpm'
    | 'asking-source'
    | 'self-testing'
    | 'deriving-keys'
    | 'ready'
    | 'stopped'
  readonly ready: boolean
  /** What it waits for or stopped on. */
  readonly problem?: {
    readonly code: ErrorCode
    readonly sentence: string
    readonly remedy: string
  }
  readonly identity?: {
    readonly dialect: string
    readonly instanceId: string
    readonly iid: string
    readonly ekName: string
    readonly akName: string
  }
  readonly tpm: {
    readonly tcti: string
    readonly ek?: string
    /** NV indices of the EK that are there and could not be read, each with why. */
    readonly unreadable?: readonly string[]
  }
  /** What the self-test proved, and what this platform does not have. */
  readonly selfTest?: {
    readonly anchor: string
    readonly proven: readonly string[]
    readonly lacked: readonly string[]
  }
  readonly source: {
    readonly dialect: string
    readonly endpoint: string
    /** Roles that the cloud gives no credentials for, as last asked. */
    readonly refusedRoles?: readonly RefusedRole[]
  }
  readonly policy: { readonly mode: Policy['mode']; readonly from: string; readonly rules: number }
  readonly sockets: { readonly metadata: string; readonly admin: string }
  /** What is known of lockdown, if the agent listens for redirected callers. */
  readonly lockdown?: LockdownKnown
  /** The end of the audit chain in the file, if there is one. */
  readonly audit?: { readonly file: string; readonly seq: number; readonly head: string }
}

const NONCE_BYTES_MIN = 16
const NONCE_BYTES_MAX = 64
const evidenceBody = z.strictObject({
  nonce: z
    .string()
    .regex(/^([0-9a-f]{2})*$/)
    .min(2 * NONCE_BYTES_MIN)
    .max(2 * NONCE_BYTES_MAX),
})
const activateBody = z.strictObject({ challenge: z.string().max(16_384) })
// Of a file that holds no token, the command sends the beginning, and learns that it is none.
const TEXT_CHARACTERS_MAX = 8192
// Each of those may be escaped in JSON, as \uXXXX. limits.body_bytes_max is for the other socket.
export const BODY_BYTES_MAX = 65_536
/** Of all who may connect; they are not counted with those of the other sockets. */
export const ADMIN_CONNECTIONS_MAX = 64
const tokenBody = z.strictObject({ token: z.string().max(TEXT_CHARACTERS_MAX) })
const revokeBody = z.union([z.strictObject({ all: z.literal(true) }), tokenBody])

/** The admin socket: what the command line asks, metrics and healthz. */
export function admin(deps: AdminDeps): FastifyInstance {
  const own = { connections: ADMIN_CONNECTIONS_MAX, bodyBytesMax: BODY_BYTES_MAX }
  const app = httpServer({ ...deps.bounds, ...own }, 'json')
  app.get('/metabind/v1/status', () => deps.status())
  app.get('/metabind/v1/healthz', (_request, reply) => healthz(deps, reply))
  app.get('/metabind/v1/metrics', async (_request, reply) =>
    reply.type(deps.metrics.contentType).send(await deps.metrics.text()),
  )
  app.get('/metabind/v1/observed', () => deps.observed())
  app.post('/metabind/v1/inspect', (request) => inspect(deps, request))
  app.post('/metabind/v1/revoke', (request) => revoke(deps, request))
  app.post('/metabind/v1/evidence', async (request, reply) => {
    const { nonce } = parse(evidenceBody, request.body)
    const agent = requireRunning(deps)
    agent.requireRunning()
    const evidence = await agent.evidence(Buffer.from(nonce, 'hex'))
    deps.audit({ event: 'evidence.made', caller: callerOf(request.raw.socket) })
    return reply.type('application/json').send(evidence)
  })
  app.post('/metabind/v1/activate', async (request, reply) => {
    const { challenge } = parse(activateBody, request.body)
    const agent = requireRunning(deps)
    agent.requireRunning()
    const answer = await agent.activate(challenge)
    deps.audit({ event: 'challenge.answered', caller: callerOf(request.raw.socket) })
    return reply.type('application/json').send(answer)
  })
  app.post('/metabind/v1/explain', async (request) => {
    const asked = parse(explainBody, request.body)
    const found = explain(deps.policy(), asked)
    const known = asked.look ? await deps.running()?.knows(found.path) : undefined
    return { ...found, ...(known === undefined ? {} : { known }) }
  })
  app.post('/metabind/v1/lockdown', (request) => {
    const change = parse(lockdownBody, request.body)
    deps.lockdown.told(change, callerOf(request.raw.socket))
    return deps.lockdown.known()
  })
  app.setNotFoundHandler(() => {
    throw new MetabindError('ADMIN_ABSENT')
  })
  app.setErrorHandler((error, request, reply) => {
    const known = asMetabindError(error)
    if (known.code === 'INTERNAL') deps.logFault(known)
    return sendResponse(reply, errorResponse(known, request.id, {}))
  })
  return app
}

function healthz(deps: AdminDeps, reply: FastifyReply): FastifyReply {
  const { ready, state } = deps.status()
  return reply
    .code(ready ? 200 : 503)
    .type('text/plain')
    .send(state)
}

function inspect(deps: AdminDeps, request: FastifyRequest): Inspection {
  const agent = requireRunning(deps)
  agent.requireRunning()
  const { token } = parse(tokenBody, request.body)
  const caller = callerOf(request.raw.socket)
  const found = inspectToken(agent, token, caller)
  auditForeign(deps.audit, found, request.id, caller)
  return found
}

async function revoke(deps: AdminDeps, request: FastifyRequest): Promise<{ revoked: string }> {
  const agent = requireRunning(deps)
  const asked = parse(revokeBody, request.body)
  const caller = callerOf(request.raw.socket)
  if ('all' in asked) {
    await agent.revokeAll()
  } else {
    // The holder's uid does not matter to whoever revokes; everything else of the token does.
    const claims = agent.tokens.verify(asked.token)
    agent.revokeToken(claims.random, claims.expiresAtMs)
  }
  const revoked = 'all' in asked ? 'all' : 'one'
  deps.audit({ event: 'token.revoked', id: request.id, caller, detail: revoked })
  return { revoked }
}

function requireRunning(deps: AdminDeps): RunningAgent {
  const agent = deps.running()
  if (agent === undefined) throw new MetabindError('AGENT_NOT_READY')
  return agent
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body)
  if (!parsed.success) throw new MetabindError('ADMIN_REQUEST')
  return parsed.data
}
