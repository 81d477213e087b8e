import type { FastifyInstance } from 'fastify'
import { bootTimeMs } from 'metabind-linux'
import type { RunningAgent } from '../admin/admin.ts'
import type { Observed } from '../admin-api.ts'
import { whyNoSockets } from '../caller/socket-diag.ts'
import { whyNoPlaces } from '../caller/socket-place.ts'
import type { Config } from '../config.ts'
import type { Dialect } from '../dialect/dialect.ts'
import { causeChain, MetabindError } from '../errors.ts'
import { type Federation, federation } from '../federation/federation.ts'
import type { RegistrarPlace } from '../federation/registrar-http.ts'
import { decodeChallenge, encodeAnswer } from '../format/activation.ts'
import { encodeEvidence } from '../format/evidence.ts'
import { jwkOf } from '../format/tpm-key.ts'
import { parsePublic } from '../format/tpm-public.ts'
import { closeGracefully } from '../http/graceful-close.ts'
import { listenAt } from '../http/listen.ts'
import { type SkSigner, skSigner } from '../identity/sk-signer.ts'
import type { InstanceTpm } from '../identity/tpm.ts'
import type { Log } from '../log.ts'
import type { Metadata } from '../metadata/metadata.ts'
import type { PolicyInForce } from '../policy/current.ts'
import { isContained } from '../policy/policy.ts'
import type { Readers } from '../policy/readers.ts'
import type { Counters } from '../relay/counters.ts'
import { type CredentialsUrls, credentialsUrls } from '../relay/credentials-url.ts'
import { identityTokens } from '../relay/identity-token.ts'
import { knowsPath } from '../relay/known-path.ts'
import { type Limits, limits, type OpenShares } from '../relay/limits.ts'
import type { LockdownRecord } from '../relay/lockdown-record.ts'
import { proofs } from '../relay/proof.ts'
import { relay } from '../relay/relay.ts'
import type { RelayDeps } from '../relay/relay-deps.ts'
import { openTcpListeners, type TcpListeners } from '../relay/tcp-listeners.ts'
import type { Supervisor } from '../service-manager.ts'
import { type TokenAuthority, tokenAuthority } from '../token/authority.ts'
import { inspectOwnToken } from '../token/inspection.ts'
import { type KeyRefresher, keyRefresher } from '../token/key-refresher.ts'
import { loadSalt } from '../token/salt.ts'
import type { AuditTrail } from './audit-trail.ts'
import { federationWatcher, outcomeOf } from './federation-watcher.ts'
import { withInstanceWatch } from './instance-watch.ts'
import { httpBounds, limitBounds, socketPlace } from './settings.ts'
import type { InheritedSockets } from './socket-activation.ts'
import type { ReadyState } from './startup.ts'

/** What a ready agent serves with, besides what the startup has made. */
export interface ServingDeps {
  /** The one in force: tokens' settings change with a reload. */
  readonly config: () => Config
  readonly dialect: Dialect
  /** `http://ADDRESS[:PORT]` of the metadata service. */
  readonly endpoint: string
  /** Undefined if no registrar is configured. */
  readonly registrar: RegistrarPlace | undefined
  readonly inherited: InheritedSockets
  readonly tpm: InstanceTpm
  readonly trail: AuditTrail
  readonly metadata: Metadata
  readonly policy: PolicyInForce
  readonly readers: Readers
  readonly counters: Counters
  readonly lockdown: LockdownRecord
  readonly supervisor: Supervisor
  readonly log: Log
  readonly logFault: (error: MetabindError) => void
  /** @throws MetabindError AGENT_STOPPED while tokens are neither issued nor accepted */
  readonly requireRunning: () => void
  /** Told why the key refresher stopped the agent. */
  readonly onStopped: (why: MetabindError) => void
}

/** The sockets of a ready agent, and what is behind them. */
export interface Serving {
  readonly running: RunningAgent
  readonly keyRefresher: KeyRefresher
  /** Undefined if no registrar is configured. */
  readonly federation: Federation | undefined
  /** Opens the metadata socket, then the listeners on TCP. @throws MetabindError LISTEN_FAILED */
  listen(): Promise<void>
  observed(): readonly Observed[]
  /** Answers what is under way, then closes. */
  close(): Promise<void>
}

/** What the unit's status says of an agent that serves. */
export function servingStatus({ tokenKeys }: ReadyState): string {
  return `serving ${tokenKeys.identity.instanceId}`
}

/** Puts together what a ready agent serves with. Nothing listens yet. */
export function serving(ready: ReadyState, deps: ServingDeps): Serving {
  const { config, endpoint, inherited } = deps
  const signer = skSigner(deps.tpm, ready.keys)
  deps.trail.signWith(signer, ready.keys.sk)
  const tokens = tokenAuthority(ready.tokenKeys, bootTimeMs, () => config().token.bind)
  const urls = urlsOf(ready, tokens, deps)
  const open: OpenShares = { count: 0 }
  const running = runningAgent(ready, tokens, deps)
  const own = limitsOf(deps, open)
  const forRelay = relayDepsOf(ready, signer, tokens, deps)
  const fleet = federationOf(ready, { ...forRelay, limits: own }, running, deps)
  const relayDeps: RelayDeps = {
    ...forRelay,
    limits: own,
    federation: fleet,
    credentialsUrl: urls === undefined ? undefined : urlOf(urls),
  }
  const app: FastifyInstance = relay(relayDeps)
  let tcpListeners: TcpListeners | undefined
  return {
    running,
    keyRefresher: keyRefresherOf(ready, deps, () => fleet?.identityChanged()),
    federation: fleet,
    listen: async () => {
      await listenAt(app, socketPlace(config(), 'metadata', inherited.metadata))
      const listenerDeps = {
        config: config(),
        relay: relayDeps,
        containersLimits: limitsOf(deps, open),
        endpoint,
        inherited,
        onRedirected: deps.lockdown.redirected,
        onTokenless: (seen: Observed) => deps.log.warn({ seen }, 'direct read without a token'),
        onTaken: (error: MetabindError) =>
          deps.log.error({ cause: causeChain(error) }, 'a port is taken; waiting until it is free'),
      }
      tcpListeners = await openTcpListeners(listenerDeps, urls)
    },
    observed: () => tcpListeners?.observed() ?? [],
    close: async () =>
      void (await Promise.allSettled([closeGracefully(app), tcpListeners?.close()])),
  }
}

/** If they are off there are none. */
function urlsOf(ready: ReadyState, tokens: TokenAuthority, deps: ServingDeps) {
  const { config, dialect, inherited } = deps
  // The socket unit is off unless somebody turned it on, which is as good as the setting.
  const areOn = config().credentials_uri.enabled || inherited['credentials-uri'] !== undefined
  if (!areOn) return undefined
  const salt = loadSalt(config().directories.runtime).reveal()
  const { port } = config().credentials_uri
  return credentialsUrls({ salt, iid: ready.tokenKeys.iid, port, tokens, dialect })
}

/** No SDK is sent to a URL where it would be refused: `metabind exec` says so before its command runs. */
function urlOf(urls: CredentialsUrls): CredentialsUrls['urlOf'] {
  const why = whyNoPlaces() ?? whyNoSockets()
  if (why === undefined) return urls.urlOf
  return () => {
    throw new MetabindError('LISTEN_URI_UNNAMED', why)
  }
}

function relayDepsOf(
  { keys, tokenKeys }: ReadyState,
  signer: SkSigner,
  tokens: TokenAuthority,
  deps: ServingDeps,
): Omit<RelayDeps, 'limits'> {
  const config = deps.config()
  return {
    dialect: deps.dialect,
    tokens,
    metadata: deps.metadata,
    identityTokens: identityTokens({
      instanceId: tokenKeys.identity.instanceId,
      iid: tokenKeys.iid,
      lifetimeSeconds: config.identity.lifetime_seconds,
      sign: signer.sign,
      wallTimeMs: Date.now,
    }),
    proofs: proofs({
      jwk: jwkOf(parsePublic(keys.sk.publicArea)),
      sign: signer.sign,
      wallTimeMs: Date.now,
    }),
    audit: deps.trail.audit,
    bounds: httpBounds(config),
    counters: deps.counters,
    inspect: (token, caller) =>
      inspectOwnToken({ iid: tokenKeys.iid, tokens, bootTimeMs }, token, caller),
    ttlSecondsMax: () => Math.min(deps.config().token.max_ttl_seconds, deps.dialect.ttlSecondsMax),
    policy: () => deps.policy.current().policy,
    readers: deps.readers,
    requireRunning: deps.requireRunning,
    logFault: deps.logFault,
  }
}

function limitsOf({ config, counters }: ServingDeps, open: OpenShares): Limits {
  return limits(limitBounds(config()), bootTimeMs, counters.limited, open)
}

/** Nothing in it keeps the agent from serving: what fails is logged, told by status, and tried again. */
function federationOf(
  ready: ReadyState,
  { limits: own, identityTokens: identity }: Pick<RelayDeps, 'limits' | 'identityTokens'>,
  { evidence, activate }: RunningAgent,
  deps: ServingDeps,
): Federation | undefined {
  const { registrar: place, config, counters } = deps
  if (place === undefined) return undefined
  const { keys, tokenKeys } = ready
  const told = federationWatcher(deps.log, deps.trail.audit)
  return federation({
    ...{ place, evidence, activate, ...told },
    iid: tokenKeys.iid,
    key: jwkOf(parsePublic(keys.sk.publicArea)),
    ekName: keys.ek.name,
    stateDirectory: config().directories.state,
    // Root of a container is not the user that services elsewhere mean by uid 0 of this instance.
    identityToken: (caller) => identity.issue(place.url, caller, !isContained(caller)),
    onAttempt: (problem, failuresBefore) => {
      counters.enrolment(outcomeOf(problem))
      told.onAttempt(problem, failuresBefore)
    },
    onAnswer: counters.fleetToken,
    requireExchange: own.requireExchange,
    requireRunning: deps.requireRunning,
    clockMs: bootTimeMs,
    nowMs: Date.now,
    random: Math.random,
  })
}

/** What the admin socket works with. */
function runningAgent(
  { tokenKeys, attester }: ReadyState,
  tokens: TokenAuthority,
  deps: ServingDeps,
): RunningAgent {
  return {
    ...tokenKeys,
    tokens,
    bootTimeMs,
    evidence: async (qualifier) => encodeEvidence(await attester.evidence(qualifier)),
    activate: async (text) => {
      const challenge = decodeChallenge(Buffer.from(text))
      return encodeAnswer(await attester.activate(challenge))
    },
    knows: (path) => knowsPath(deps, path),
    requireRunning: deps.requireRunning,
  }
}

function keyRefresherOf(ready: ReadyState, deps: ServingDeps, onPassed: () => void): KeyRefresher {
  const { audit } = deps.trail
  return keyRefresher({
    keys: withInstanceWatch(ready, audit, onPassed),
    recheckMs: deps.config().tpm.recheck_seconds * 1000,
    bootTimeMs,
    onStopped: (why) => {
      audit({ event: 'agent.stopped', code: why.code, detail: causeChain(why) })
      deps.supervisor.notReady(`neither issuing nor accepting tokens: ${why.message}`)
      deps.onStopped(why)
    },
    onResumed: () => {
      audit({ event: 'agent.resumed' })
      deps.supervisor.ready(servingStatus(ready))
    },
  })
}
