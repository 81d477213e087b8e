import { httpBounds, limitBounds, sourceBounds } from '../../src/agent/settings.ts'
import type { Caller } from '../../src/caller/caller.ts'
import { parseConfig } from '../../src/config.ts'
import { DIALECTS } from '../../src/dialect/dialects.ts'
import { MetabindError } from '../../src/errors.ts'
import type { HttpResponse } from '../../src/http/response.ts'
import { lifetimesBy } from '../../src/metadata/lifetimes.ts'
import { metadataFrom } from '../../src/metadata/metadata.ts'
import { openSource } from '../../src/metadata/source.ts'
import { askedFor } from '../../src/policy/audience.ts'
import { parsePolicy } from '../../src/policy/parse.ts'
import type { Policy } from '../../src/policy/policy.ts'
import { readers } from '../../src/policy/readers.ts'
import { newCounters } from '../../src/relay/counters.ts'
import type { JudgedRequest } from '../../src/relay/judged-request.ts'
import { limits } from '../../src/relay/limits.ts'
import type { RelayDeps } from '../../src/relay/relay-deps.ts'
import { responder, router, routes } from '../../src/relay/routes.ts'
import { Secret } from '../../src/secret.ts'
import { tokenAuthority } from '../../src/token/authority.ts'
import type { HeldSource } from '../harness/held-source.ts'

const dialect = DIALECTS.aliyun
const nothing = () => undefined
const KEY = Buffer.alloc(32, 'a')
const TTL_SECONDS = 600

/** What may change between a question and its answer. */
interface AgentState {
  /** Boot time; the wall clock goes with it. */
  ms: number
  policy: Policy
  isStopped: boolean
  readonly revoked: Set<string>
}

/** All of the relay from a judged request on, with a cache and a source over HTTP. */
export interface AnswerParts extends AsyncDisposable {
  readonly state: AgentState
  /** Names of audit records. */
  readonly events: string[]
  token(caller: Caller, ttlSeconds?: number): string
  revoke(token: string): void
  /** Reads of the source. */
  underWay(): number
  ask(caller: Caller, path: string, token: string): HttpResponse | Promise<HttpResponse>
  post(
    caller: Caller,
    path: string,
    token: string,
    body: string,
  ): HttpResponse | Promise<HttpResponse>
}

/** A rule each for the users that may read a path and have proofs; the others are refused everything. */
export function policyFor(users: readonly number[]): Promise<Policy> {
  const allow = `[[rule]]\neffect = "allow"\nusers = [${users}]\npaths = ["/**"]\n`
  const proofs = `[[rule]]\neffect = "allow"\nusers = [${users}]\nproofs = ["https://service.example/**"]\n`
  const deny = '[[rule]]\neffect = "deny"\npaths = ["/**"]\n'
  return parsePolicy(`${users.length === 0 ? '' : allow + proofs}${deny}`, 'policy.toml', {
    lookUp: async () => ({ users: new Map(), groups: new Map() }),
    secretPaths: dialect.secretPaths,
    seesExecutables: false,
  })
}

/** @param sign what signs identity tokens and proofs */
export function answerParts(
  { url }: HeldSource,
  policy: Policy,
  sign: () => Promise<Buffer> = () => Promise.reject(new Error('not asked for here')),
): AnswerParts {
  const state: AgentState = { ms: 1_000_000, policy, isStopped: false, revoked: new Set() }
  const events: string[] = []
  const bootTimeMs = () => state.ms
  const config = parseConfig([])
  const source = openSource(dialect, url, sourceBounds(config), bootTimeMs)
  const iidPrefix = '00'.repeat(8)
  const isRevoked = (random: string) => state.revoked.has(random)
  const tokens = tokenAuthority({ iidPrefix, key: () => KEY, isRevoked }, bootTimeMs, () => ['uid'])
  const refuse = () => {
    throw new Error('not asked for here')
  }
  const metadata = metadataFrom({
    source,
    dialect,
    lifetimeOf: lifetimesBy(dialect.lifetimes),
    bounds: { entriesMax: 100, bytesMax: 1_000_000 },
    clocks: { bootTimeMs, wallTimeMs: bootTimeMs, random: () => 0 },
    answerWithinMs: 60_000,
    ...{ onSource: nothing, onRefreshFailed: nothing, onUnusable: nothing },
    ...{ onRole: nothing, onCached: nothing },
  })
  const deps: RelayDeps = {
    ...{ dialect, tokens, readers: readers(() => 0), counters: newCounters() },
    ...{ logFault: refuse, inspect: refuse, ttlSecondsMax: () => TTL_SECONDS },
    metadata,
    identityTokens: { issue: async () => new Secret((await sign()).toString()) },
    proofs: { make: async () => new Secret((await sign()).toString()) },
    audit: ({ event }) => void events.push(event),
    bounds: httpBounds(config),
    limits: limits(limitBounds(config), bootTimeMs, nothing),
    policy: () => state.policy,
    requireRunning: () => {
      if (state.isStopped) throw new MetabindError('AGENT_STOPPED')
    },
  }
  const respond = responder(router(routes(deps)), deps)
  return {
    state,
    events,
    token: (caller, ttlSeconds = TTL_SECONDS) => tokens.issue(ttlSeconds, caller).reveal(),
    revoke: (token) => void state.revoked.add(tokens.verify(token).random),
    underWay: () => metadata.state.upstreamUnderWay,
    ask: (caller, path, token) => respond(judged(caller, path, token)),
    post: (caller, path, token, body) =>
      respond({ ...judged(caller, path, token), method: 'POST', body: Buffer.from(body) }),
    [Symbol.asyncDispose]: () => source.close(),
  }
}

function judged(caller: Caller, asked: string, token: string): JudgedRequest {
  const [path = '', query] = asked.split('?')
  return {
    ...{ id: 'x-1', method: 'GET', caller, target: { path, query }, wantsFresh: false },
    headers: { token, ttl: undefined },
    asked: askedFor(path, query),
  }
}
