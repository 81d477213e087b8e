import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  ADMIN_CALLS,
  ADMIN_PREFIX,
  type AdminCall,
  type AdminRoute,
  type AgentStatus,
  type Explanation,
  type Inspection,
  type LockdownKnown,
  type Observed,
} from '../admin-api.ts'
import type { Alarms } from '../audit/alarms.ts'
import type { Audit } from '../audit/audit.ts'
import { callerOf } from '../caller/connection.ts'
import { MetabindError } from '../errors.ts'
import { type HttpBounds, httpServer } from '../http/server.ts'
import { explain, explainProof } from '../policy/explain.ts'
import type { LockdownRecord } from '../relay/lockdown-record.ts'
import { isOfBrowser } from '../relay/request-rules.ts'
import { auditForeign, type InspectionDeps, inspectToken } from '../token/inspection.ts'
import { isOwnHost } from './own-host.ts'
import type { Metrics } from './prometheus.ts'
import { answerRefusals } from './refusals.ts'
import { type StatusPageDeps, serveStatusPage } from './status-page.ts'

/** What the admin socket can do. Who may connect is decided by the mode and group of the socket. */
export interface AdminDeps extends StatusPageDeps {
  readonly bounds: HttpBounds
  readonly status: () => AgentStatus
  /** The running agent, or undefined before it is ready. */
  readonly running: () => RunningAgent | undefined
  /** Who asked the metadata service directly while lockdown was observing. */
  readonly observed: () => readonly Observed[]
  readonly lockdown: LockdownRecord
  readonly alarms: Alarms
  readonly audit: Audit
  readonly metrics: Metrics
  readonly logFault: (error: MetabindError) => void
}

/** What the admin socket needs of an agent that is ready. */
export interface RunningAgent extends InspectionDeps {
  /** Evidence of the instance identity for a nonce, as JSON. */
  readonly evidence: (asked: { readonly nonce: Buffer; readonly bind?: Buffer }) => Promise<string>
  /** The answer to a verifier's challenge, both as JSON. */
  readonly activate: (challenge: string) => Promise<string>
  /** Whether there is anything at a canonical path; undefined if the source does not say. */
  readonly knows: (path: string) => Promise<boolean | undefined>
  /** @throws MetabindError AGENT_STOPPED */
  readonly requireRunning: () => void
  revokeAll(): Promise<void>
  revokeToken(random: string, expiresAtMs: number): void
}

// Any character of a request may be escaped in JSON, as \uXXXX. limits.body_bytes_max is for the other socket.
export const BODY_BYTES_MAX = 65_536
/** Of all who may connect; they are not counted with those of the other sockets. */
export const ADMIN_CONNECTIONS_MAX = 64

/** The admin socket: what the command line asks, metrics and healthz. */
export function admin(deps: AdminDeps): FastifyInstance {
  const own = { connections: ADMIN_CONNECTIONS_MAX, bodyBytesMax: BODY_BYTES_MAX }
  const app = httpServer({ ...deps.bounds, ...own }, 'json')
  // A web page would reach it through a forwarded port: browsers go to `metabind ui`, which is made for them. A page
  // whose own name leads there reads without any such header: browsers send Sec-Fetch to trustworthy addresses alone.
  app.addHook('onRequest', ({ raw: { rawHeaders, headers } }, _reply, done) => {
    if (isOfBrowser(rawHeaders)) throw new MetabindError('REQUEST_BROWSER')
    if (!isOwnHost(headers.host))
      throw new MetabindError('REQUEST_BROWSER', `Host: ${headers.host}`)
    done()
  })
  answers(app, ADMIN_CALLS.status, () => deps.status())
  answers(app, ADMIN_CALLS.observed, () => deps.observed())
  answers(app, ADMIN_CALLS.inspect, (request) => inspect(deps, request))
  answers(app, ADMIN_CALLS.revoke, (request) => revoke(deps, request))
  answers(app, ADMIN_CALLS.evidence, (request, reply) => evidence(deps, request, reply))
  answers(app, ADMIN_CALLS.activate, (request, reply) => activate(deps, request, reply))
  answers(app, ADMIN_CALLS.explain, (request) => explainToAdmin(deps, request))
  answers(app, ADMIN_CALLS.explainproof, (request) =>
    explainProof(deps.policy(), requestOf(ADMIN_CALLS.explainproof, request)),
  )
  answers(app, ADMIN_CALLS.lockdown, (request) => lockdownTold(deps, request))
  answers(app, ADMIN_CALLS.snapshot, () => deps.snapshot())
  answers(app, ADMIN_CALLS.acknowledge, (request) => acknowledge(deps, request))
  serveStatusPage(app, deps)
  app.get(`${ADMIN_PREFIX}healthz`, (_request, reply) => healthz(deps, reply))
  app.get(`${ADMIN_PREFIX}metrics`, async (_request, reply) =>
    reply.type(deps.metrics.contentType).send(await deps.metrics.text()),
  )
  answerRefusals(app, deps.logFault)
  return app
}

/** Serves one call: what the handler gives is the answer that the call has. */
function answers<Answer>(
  app: FastifyInstance,
  { method, name }: AdminRoute<Answer>,
  handler: (
    request: FastifyRequest,
    reply: FastifyReply,
  ) => NoInfer<Answer> | Promise<NoInfer<Answer>>,
): void {
  app.route({ method, url: `${ADMIN_PREFIX}${name}`, handler })
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
  const { token } = requestOf(ADMIN_CALLS.inspect, request)
  const caller = callerOf(request.raw.socket)
  const found = inspectToken(agent, token, caller)
  auditForeign(deps.audit, found, request.id, caller)
  return found
}

async function revoke(
  deps: AdminDeps,
  request: FastifyRequest,
): Promise<{ revoked: 'all' | 'one' }> {
  const agent = requireRunning(deps)
  const asked = requestOf(ADMIN_CALLS.revoke, request)
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

async function evidence(
  deps: AdminDeps,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { nonce, bind } = requestOf(ADMIN_CALLS.evidence, request)
  const agent = requireRunning(deps)
  agent.requireRunning()
  const made = await agent.evidence({
    nonce: Buffer.from(nonce, 'hex'),
    ...(bind === undefined ? {} : { bind: Buffer.from(bind, 'hex') }),
  })
  deps.audit({ event: 'evidence.made', caller: callerOf(request.raw.socket) })
  return reply.type('application/json').send(made)
}

async function activate(
  deps: AdminDeps,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { challenge } = requestOf(ADMIN_CALLS.activate, request)
  const agent = requireRunning(deps)
  agent.requireRunning()
  const answer = await agent.activate(challenge)
  deps.audit({ event: 'challenge.answered', caller: callerOf(request.raw.socket) })
  return reply.type('application/json').send(answer)
}

async function explainToAdmin(deps: AdminDeps, request: FastifyRequest): Promise<Explanation> {
  const asked = requestOf(ADMIN_CALLS.explain, request)
  const found = explain(deps.policy(), asked)
  const known = asked.look ? await deps.running()?.knows(found.path) : undefined
  return { ...found, known }
}

function lockdownTold(deps: AdminDeps, request: FastifyRequest): LockdownKnown {
  const change = requestOf(ADMIN_CALLS.lockdown, request)
  deps.lockdown.told(change, callerOf(request.raw.socket))
  return deps.lockdown.known()
}

/** Who has seen an alarm is on record. */
function acknowledge(deps: AdminDeps, request: FastifyRequest): { acknowledged: boolean } {
  const { alarm: id } = requestOf(ADMIN_CALLS.acknowledge, request)
  const caller = callerOf(request.raw.socket)
  const alarm = deps.alarms.acknowledge(id, caller)
  if (alarm === undefined) return { acknowledged: false }
  const { uid, count, identity } = alarm
  const detail = `${count} foreign tokens of uid ${uid ?? 'unknown'}, the last one: ${identity}`
  deps.audit({ event: 'alarm.acknowledged', id: request.id, caller, detail })
  return { acknowledged: true }
}

function requireRunning(deps: AdminDeps): RunningAgent {
  const agent = deps.running()
  if (agent === undefined) throw new MetabindError('AGENT_NOT_READY')
  return agent
}

/** What a call is asked. @throws MetabindError ADMIN_REQUEST */
function requestOf<Request extends object>(
  { request: schema }: AdminCall<Request, unknown>,
  { body }: FastifyRequest,
): Request {
  const parsed = schema.safeParse(body)
  if (!parsed.success) throw new MetabindError('ADMIN_REQUEST')
  return parsed.data
}
