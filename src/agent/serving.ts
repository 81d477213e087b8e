import type { FastifyInstance } from 'fastify'
import { bootTimeMs } from 'tpm2-js/linux'
import type { ReadyState } from '../boot/boot.ts'
import { type Keeper, keepKeys } from '../boot/keeper.ts'
import { loadSalt } from '../boot/salt.ts'
import { type SkSigner, skSigner } from '../boot/sk-signer.ts'
import type { InstanceTpm } from '../boot/tpm.ts'
import type { Config } from '../config.ts'
import { causeChain, type MetabindError } from '../errors.ts'
import { decodeChallenge, encodeAnswer } from '../format/activation.ts'
import { encodeEvidence } from '../format/evidence.ts'
import type { InheritedSockets } from '../inherited-sockets.ts'
import type { Log } from '../log.ts'
import type { RunningAgent } from '../relay/admin.ts'
import type { Counters } from '../relay/counters.ts'
import type { Dialect } from '../relay/dialect.ts'
import { closeGently } from '../relay/gentle-close.ts'
import { identityIssuer } from '../relay/identity.ts'
import { inspectOwnToken } from '../relay/inspection.ts'
import { knowsPath } from '../relay/known-path.ts'
import { type Limits, limits, type OpenShares } from '../relay/limits.ts'
import { listenAt } from '../relay/listen.ts'
import type { LockdownRecord } from '../relay/lockdown-record.ts'
import { credentialsUris, type Loopback, openLoopback } from '../relay/loopback.ts'
import type { Metadata } from '../relay/metadata.ts'
import type { Observed } from '../relay/observe.ts'
import { type RelayParts, relay } from '../relay/relay.ts'
import { type TokenAuthority, tokenAuthority } from '../relay/token.ts'
import type { AuditTrail } from './audit-trail.ts'
import { httpBounds, limitBounds, socketPlace } from './bounds.ts'
import type { PolicyInForce } from './policy-in-force.ts'
import type { Supervisor } from './supervisor.ts'
import { watched } from './watched-keys.ts'

/** What a ready agent serves with, besides what boot has made. */
export interface ServingParts {
  /** The one in force: tokens' settings change with a reload. */
  readonly config: () => Config
  readonly dialect: Dialect
  /** `http://ADDRESS[:PORT]` of the metadata service. */
  readonly endpoint: string
  readonly inherited: InheritedSockets
  readonly tpm: InstanceTpm
  readonly trail: AuditTrail
  readonly metadata: Metadata
  readonly policy: PolicyInForce
  readonly counters: Counters
  readonly lockdown: LockdownRecord
  readonly supervisor: Supervisor
  readonly log: Log
  readonly logFault: (error: MetabindError) => void
  /** @throws MetabindError AGENT_STOPPED while tokens are neither issued nor accepted */
  readonly requireRunning: () => void
  /** Told why the keeper stopped the agent. */
  readonly onStopped: (why: MetabindError) => void
}

/** The sockets of a ready agent, and what is behind them. */
export interface Serving {
  readonly running: RunningAgent
  readonly keeper: Keeper
  /** Opens the metadata socket, then the listeners on loopback. @throws MetabindError LISTEN_FAILED */
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
export function serving(ready: ReadyState, parts: ServingParts): Serving {
  const { config, endpoint, inherited } = parts
  const signer = skSigner(parts.tpm, ready.keys)
  parts.trail.signWith(signer, ready.keys.sk)
  const tokens = tokenAuthority(ready.tokenKeys, bootTimeMs, () => config().token.bind)
  const uris = urisOf(ready, tokens, parts)
  const open: OpenShares = { count: 0 }
  const relayParts: RelayParts = {
    ...relayPartsOf(ready, signer, tokens, parts),
    limits: limitsOf(parts, open),
    credentialsUri: uris?.uriOf,
  }
  const app: FastifyInstance = relay(relayParts)
  let loopback: Loopback | undefined
  return {
    running: runningAgent(ready, tokens, parts),
    keeper: keeperOf(ready, parts),
    listen: async () => {
      await listenAt(app, socketPlace(config(), 'metadata', inherited.metadata))
      const openParts = {
        config: config(),
        relay: relayParts,
        containersLimits: limitsOf(parts, open),
        endpoint,
        inherited,
        onRedirected: parts.lockdown.redirected,
        onTokenless: (seen: Observed) => parts.log.warn({ seen }, 'direct read without a token'),
        onTaken: (error: MetabindError) =>
          parts.log.error(
            { cause: causeChain(error) },
            'a port is taken; waiting until it is free',
          ),
      }
      loopback = await openLoopback(openParts, uris)
    },
    observed: () => loopback?.observed() ?? [],
    close: async () => void (await Promise.allSettled([closeGently(app), loopback?.close()])),
  }
}

/** Where they are off there are none. */
function urisOf(ready: ReadyState, tokens: TokenAuthority, parts: ServingParts) {
  const { config, dialect, inherited } = parts
  // The socket unit is off unless somebody turned it on, which is as good as the setting.
  const areOn = config().credentials_uri.enabled || inherited['credentials-uri'] !== undefined
  if (!areOn) return undefined
  const salt = loadSalt(config().directories.runtime).reveal()
  return credentialsUris(config(), salt, ready.tokenKeys.iid, { tokens, dialect })
}

function relayPartsOf(
  { tokenKeys }: ReadyState,
  signer: SkSigner,
  tokens: TokenAuthority,
  parts: ServingParts,
): Omit<RelayParts, 'limits'> {
  const config = parts.config()
  return {
    dialect: parts.dialect,
    tokens,
    metadata: parts.metadata,
    identities: identityIssuer({
      instanceId: tokenKeys.identity.instanceId,
      iid: tokenKeys.iid,
      lifetimeSeconds: config.identity.lifetime_seconds,
      sign: signer.sign,
      wallTimeMs: Date.now,
    }),
    audit: parts.trail.audit,
    bounds: httpBounds(config),
    counters: parts.counters,
    inspect: (token, caller) =>
      inspectOwnToken({ iid: tokenKeys.iid, tokens, bootTimeMs }, token, caller),
    ttlSecondsMax: () => parts.config().token.max_ttl_seconds,
    policy: () => parts.policy.current().policy,
    requireRunning: parts.requireRunning,
    logFault: parts.logFault,
  }
}

function limitsOf({ config, counters }: ServingParts, open: OpenShares): Limits {
  return limits(limitBounds(config()), bootTimeMs, counters.limited, open)
}

/** What the admin socket works with. */
function runningAgent(
  { tokenKeys, attestation }: ReadyState,
  tokens: TokenAuthority,
  parts: ServingParts,
): RunningAgent {
  return {
    ...tokenKeys,
    tokens,
    bootTimeMs,
    evidence: async (nonce) => encodeEvidence(await attestation.evidence(nonce)),
    activate: async (text) => {
      const challenge = decodeChallenge(Buffer.from(text))
      return encodeAnswer(await attestation.activate(challenge))
    },
    knows: (path) => knowsPath(parts, path),
    requireRunning: parts.requireRunning,
  }
}

function keeperOf(ready: ReadyState, parts: ServingParts): Keeper {
  const { audit } = parts.trail
  return keepKeys({
    keys: watched(ready, audit),
    recheckMs: parts.config().tpm.recheck_seconds * 1000,
    bootTimeMs,
    onStopped: (why) => {
      audit({ event: 'agent.stopped', code: why.code, detail: causeChain(why) })
      parts.supervisor.notReady(`neither issuing nor accepting tokens: ${why.message}`)
      parts.onStopped(why)
    },
    onResumed: () => {
      audit({ event: 'agent.resumed' })
      parts.supervisor.ready(servingStatus(ready))
    },
  })
}
