import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { bootTimeMs } from 'tpm2-js/linux'
import { openAuditTrail } from './audit-trail.ts'
import { advance, type BootState, type ReadyState } from './boot/boot.ts'
import { isRemarkable } from './boot/instance-record.ts'
import { type Keeper, keepKeys } from './boot/keeper.ts'
import { loadSalt } from './boot/salt.ts'
import { skSigner } from './boot/sk-signer.ts'
import { instanceTpm } from './boot/tpm.ts'
import { bootParts, readInstanceId } from './boot-parts.ts'
import {
  afterFailure,
  backoffMs,
  FATAL,
  logWait,
  nextSetback,
  passingProblem,
  type Setback,
} from './boot-setback.ts'
import { httpBounds, limitBounds, sourceBounds } from './bounds.ts'
import type { Config } from './config.ts'
import { causeChain, MetabindError } from './errors.ts'
import { decodeChallenge, encodeAnswer } from './format/activation.ts'
import { encodeEvidence } from './format/evidence.ts'
import type { InheritedSockets } from './inherited-sockets.ts'
import type { Log } from './log.ts'
import { admin, type RunningAgent } from './relay/admin.ts'
import type { Audit } from './relay/audit.ts'
import type { Counters } from './relay/counters.ts'
import { DIALECTS } from './relay/dialects.ts'
import { closeGently } from './relay/gentle-close.ts'
import { identityIssuer } from './relay/identity.ts'
import { decodeItems, type ItemKeeper, keepItems } from './relay/kept-items.ts'
import { LIFETIME_TABLES, lifetimesBy } from './relay/lifetimes.ts'
import { limits } from './relay/limits.ts'
import { listenOn, listenOnInherited } from './relay/listen.ts'
import { lockdownRecord } from './relay/lockdown-record.ts'
import { credentialsUris, type Loopback, openLoopback } from './relay/loopback.ts'
import { type Metadata, metadataFrom } from './relay/metadata.ts'
import { metrics } from './relay/metrics.ts'
import type { Observed } from './relay/observe.ts'
import { openSecrets } from './relay/policy-file.ts'
import { type LoadedPolicy, loadPolicy } from './relay/policy-load.ts'
import { requireProc, seesExecutables } from './relay/process.ts'
import { type RelayParts, relay } from './relay/relay.ts'
import { openSource } from './relay/source.ts'
import { tokenAuthority } from './relay/token.ts'
import { agentStatus } from './status.ts'
import { readTrust } from './trust-files.ts'
import { VERSION } from './version.ts'
import { inWords, watched } from './watched-keys.ts'

/** Whom the agent tells how it is: systemd, in daemon.ts. */
export interface Supervisor {
  /** Tokens are issued and accepted. */
  ready(status: string): void
  /** They are not, or not yet. */
  notReady(status: string): void
}

/** An agent from its start to its end. */
export interface Agent {
  /** Resolves when the agent serves; rejects where only a new process can help. */
  readonly started: Promise<void>
  /** Rejects where only a new process can help, once the agent serves. Never resolves. */
  readonly failed: Promise<never>
  /**
   * Takes over what may change while running: the policy, trust anchors, tokens' settings and the
   * log level. All of it or, where something is refused, nothing.
   *
   * @throws MetabindError POLICY_…, FILE_UNUSABLE, VERIFY_ANCHOR
   */
  reload(config: Config): Promise<void>
  /** Goes on in a new audit file, where there is one. */
  rotateAudit(): void
  readonly audit: Audit
  /** Answers what is under way, then closes everything and wipes the keys. */
  drain(): Promise<void>
}

// How often credentials are looked at. Timers stand still in a suspend, so the clocks are asked.
const METADATA_TURN_MS = 15_000
const REFRESH_LOG_MS = 60_000
// What boot is at, for a person who reads the status of the unit.
const BOOT_STEPS: Readonly<Record<BootState['at'], string>> = {
  'opening-tpm': 'making the keys of the TPM',
  'asking-source': 'asking the metadata service which instance this is',
  'self-testing': 'testing what the TPM and the metadata service say of this instance',
  'deriving-keys': 'deriving the token keys',
  ready: 'opening the metadata socket',
}

/**
 * Builds every part once and runs boot. The admin socket answers from the beginning on. Callers of
 * the metadata socket wait in its queue until the agent is ready, where systemd made the socket.
 */
export function startAgent(
  first: Config,
  log: Log,
  supervisor: Supervisor,
  counters: Counters,
  inherited: InheritedSockets = {},
): Agent {
  let config = first
  let policy: LoadedPolicy | undefined
  let state: BootState = { at: 'opening-tpm' }
  let setback: Setback | undefined
  let running: RunningAgent | undefined
  let keeper: Keeper | undefined
  let items: ItemKeeper | undefined
  let otherInstance: MetabindError | undefined
  let trust = readTrust(config)
  const ending = new AbortController()
  const failed = Promise.withResolvers<never>()
  const servers: FastifyInstance[] = []
  let loopback: Loopback | undefined

  const dialect = DIALECTS[config.source.dialect]
  const endpoint = config.source.endpoint ?? dialect.endpoint
  const credentialsSocket = inherited['credentials-uri']
  const stoppedBecause = (): MetabindError | undefined => otherInstance ?? keeper?.stoppedBecause()
  const problem = (): MetabindError | undefined => stoppedBecause() ?? setback?.problem
  const meter = metrics(counters, {
    version: VERSION,
    isReady: () => state.at === 'ready' && problem() === undefined,
    epochsHeld: () => (state.at === 'ready' ? state.tokenKeys.count : 0),
  })
  const source = meter.watch(openSource(dialect, endpoint, sourceBounds(config), bootTimeMs))
  const tpm = instanceTpm(config.tpm.tcti, config.tpm.command_timeout_ms, meter.observeTpm)
  const trail = openAuditTrail(config, log, counters)
  const { audit } = trail
  const lockdown = lockdownRecord(audit, Date.now)
  const logFault = (error: MetabindError) => log.error({ cause: causeChain(error) }, error.code)
  const metadata = metadataFrom({
    source,
    lifetimeOf: lifetimesBy(LIFETIME_TABLES[dialect.name]),
    credentialMembers: dialect.credentialMembers,
    bounds: { entriesMax: config.cache.entries_max, bytesMax: config.cache.bytes_max },
    clocks: { bootTimeMs, wallTimeMs: Date.now, random: Math.random },
    answerWithinMs: config.source.timeout_ms,
    onSource: (isDown) => {
      if (isDown) log.warn({ code: 'SOURCE_DOWN' }, 'the source has fallen silent')
      else log.info('the source answers again')
    },
    onRefreshFailed: atMostEvery(REFRESH_LOG_MS, (path: string, error: unknown) =>
      log.warn({ path, cause: causeChain(error) }, 'credentials not refreshed'),
    ),
    onKept: () => items?.changed(),
  })
  const turning = setInterval(() => metadata.turn(), METADATA_TURN_MS)

  const inForce = (): LoadedPolicy => {
    if (policy === undefined) throw new MetabindError('AGENT_NOT_READY')
    return policy
  }
  const takePolicy = async (next: Config): Promise<void> => {
    const { secretPaths } = dialect
    try {
      policy = await loadPolicy(next.policy.file, {
        secretPaths,
        seesExecutables: seesExecutables(),
      })
    } catch (error) {
      audit({ event: 'policy.not-loaded', detail: causeChain(error) })
      throw error
    }
    audit({ event: 'policy.loaded', detail: policyInWords(policy) })
  }

  const listenAt = (name: 'admin' | 'metadata', app: FastifyInstance): Promise<void> => {
    const path = config.listen[`${name}_socket`]
    const descriptor = inherited[name]
    return descriptor === undefined
      ? listenOn(app, path, config.listen[`${name}_mode`])
      : listenOnInherited(app, path, descriptor)
  }

  const serveAdmin = (): Promise<void> => {
    const app = admin({
      bounds: httpBounds(config),
      status: () => ({
        ...agentStatus(config, endpoint, state, problem(), inForce(), trail.head()),
        ...(config.transparent.enabled ? { lockdown: lockdown.known() } : {}),
      }),
      policy: () => inForce().policy,
      running: () => running,
      observed: () => loopback?.observed() ?? [],
      lockdown,
      audit,
      metrics: meter,
      logFault,
    })
    servers.push(app)
    return listenAt('admin', app)
  }

  const boot = async (): Promise<ReadyState> => {
    const parts = bootParts(config, dialect, tpm, metadata, () => trust, log)
    for (;;) {
      const before: BootState = state
      if (before.at === 'ready') return before
      const { at } = before
      supervisor.notReady(BOOT_STEPS[at])
      if (setback === undefined) log.info({ state: at }, 'boot')
      try {
        state = await advance(before, parts)
        if (setback?.at === at) setback = undefined
      } catch (error) {
        setback = nextSetback(setback, at, passingProblem(error))
        logWait(log, setback)
        supervisor.notReady(`${BOOT_STEPS[at]}, waiting: ${setback.problem.message}`)
        await sleep(backoffMs(setback.failuresBefore), undefined, { signal: ending.signal })
        state = afterFailure(before)
      }
    }
  }

  const serve = async (ready: ReadyState): Promise<void> => {
    const keys = ready.tokenKeys
    const kept = keepKeys({
      keys: watched(ready, audit),
      recheckMs: config.tpm.recheck_seconds * 1000,
      bootTimeMs,
      onStopped: (why) => {
        audit({ event: 'agent.stopped', code: why.code, detail: causeChain(why) })
        supervisor.notReady(`neither issuing nor accepting tokens: ${why.message}`)
        if (FATAL.includes(why.code)) failed.reject(why)
      },
      onResumed: () => {
        audit({ event: 'agent.resumed' })
        supervisor.ready(readyStatus(ready))
      },
    })
    const signer = skSigner(tpm, ready.keys)
    trail.signWith(signer, ready.keys.sk)
    const tokens = tokenAuthority(keys, bootTimeMs, () => config.token.bind)
    const salt = loadSalt(config.directories.runtime).reveal()
    // The socket unit is off unless somebody turned it on, which is as good as the setting.
    const hasUris = config.credentials_uri.enabled || credentialsSocket !== undefined
    const uris = hasUris ? credentialsUris(config, salt, keys.iid, { tokens, dialect }) : undefined
    const relayParts: RelayParts = {
      dialect,
      tokens,
      metadata,
      identities: identityIssuer({
        instanceId: keys.identity.instanceId,
        iid: keys.iid,
        lifetimeSeconds: config.identity.lifetime_seconds,
        sign: signer.sign,
        wallTimeMs: Date.now,
      }),
      audit,
      bounds: httpBounds(config),
      limits: limits(limitBounds(config), bootTimeMs, counters.limited),
      counters,
      ttlSecondsMax: () => config.token.max_ttl_seconds,
      policy: () => inForce().policy,
      requireRunning: () => requireRunning(stoppedBecause()),
      logFault,
      credentialsUri: uris?.uriOf,
    }
    const app = relay(relayParts)
    keeper = kept
    running = {
      ...keys,
      tokens,
      bootTimeMs,
      evidence: async (nonce) => encodeEvidence(await ready.attestation.evidence(nonce)),
      activate: async (text) => {
        const challenge = decodeChallenge(Buffer.from(text))
        return encodeAnswer(await ready.attestation.activate(challenge))
      },
      requireRunning: () => requireRunning(stoppedBecause()),
    }
    servers.push(app)
    await listenAt('metadata', app)
    const onTokenless = (seen: Observed) => log.warn({ seen }, 'direct read without a token')
    const onRedirected = lockdown.redirected
    const parts = {
      config,
      relay: relayParts,
      endpoint,
      credentialsSocket,
      onRedirected,
      onTokenless,
    }
    loopback = await openLoopback(parts, uris)
  }

  const start = async (): Promise<void> => {
    audit({ event: 'agent.started', detail: `version ${VERSION}` })
    requireProc()
    await takePolicy(config)
    await serveAdmin()
    const ready = await boot()
    items = keepMetadata(ready, metadata)
    await serve(ready)
    const { iid, identity } = ready.tokenKeys
    log.info({ ...ready.selfTest }, 'self-test passed')
    if (isRemarkable(ready.change))
      audit({ event: 'instance.changed', detail: inWords(ready.change) })
    log.info({ iid, instanceId: identity.instanceId }, 'ready')
    supervisor.ready(readyStatus(ready))
    if (ready.insteadOfSource === undefined) return
    log.warn(
      { cause: causeChain(ready.insteadOfSource) },
      'running on what this boot proved before',
    )
    confirm(identity.instanceId).catch(unlessEnding)
  }

  /** The source was down at start: when it answers, it has to name the instance that was kept. */
  const confirm = async (instanceId: string): Promise<void> => {
    for (let failures = 0; ; failures += 1) {
      await sleep(backoffMs(failures), undefined, { signal: ending.signal })
      // Still silent, which is logged where it began: asked again after a while.
      const named = await readInstanceId(metadata, dialect).catch(() => undefined)
      if (named === undefined) continue
      if (named.trim() === instanceId) return log.info('the source confirms the instance')
      otherInstance = new MetabindError('SOURCE_OTHER', named.trim().slice(0, 128))
      audit({ event: 'agent.stopped', code: otherInstance.code, detail: otherInstance.detail })
      return supervisor.notReady(`neither issuing nor accepting tokens: ${otherInstance.message}`)
    }
  }

  return {
    started: start(),
    failed: failed.promise,
    reload: async (next) => {
      const nextTrust = readTrust(next)
      await takePolicy(next)
      trust = nextTrust
      config = { ...config, token: next.token, log: next.log, policy: next.policy }
      log.level = next.log.level
      audit({ event: 'config.reloaded' })
    },
    rotateAudit: trail.rotate,
    audit,
    drain: async () => {
      ending.abort()
      keeper?.end()
      clearInterval(turning)
      await Promise.allSettled([...servers.map(closeGently), loopback?.close()])
      items?.end()
      audit({ event: 'agent.ended' })
      await trail.close()
      meter.end()
      if (state.at === 'ready') state.tokenKeys.clear()
      if ('kept' in state) state.kept.clear()
      await Promise.allSettled([source.close(), tpm.close()])
    },
  }
}

function readyStatus({ tokenKeys }: ReadyState): string {
  return `serving ${tokenKeys.identity.instanceId}`
}

function policyInWords({ policy, from }: LoadedPolicy): string {
  const open = openSecrets(policy).map(({ number }) => number)
  const secrets = open.length === 0 ? '' : `; secret paths are open to everybody by rule ${open}`
  return `${from}: ${policy.mode}, ${policy.rules.length} rules${secrets}`
}

/** Takes over what an earlier process of this boot had fetched, and keeps what this one fetches. */
function keepMetadata(ready: ReadyState, metadata: Metadata): ItemKeeper {
  const { kept, tokenKeys } = ready
  const { instanceId } = tokenKeys.identity
  const before = kept.read('kept-items')
  if (before !== undefined) metadata.restore(decodeItems(instanceId, before))
  const file = { write: (bytes: Buffer) => kept.write('kept-items', bytes) }
  const items = keepItems(instanceId, () => metadata.kept(), file)
  items.changed()
  return items
}

/** Lets a call through, and then none until `ms` of boot time have gone by. */
function atMostEvery<Args extends unknown[]>(
  ms: number,
  call: (...args: Args) => void,
): (...args: Args) => void {
  let lastMs = Number.NEGATIVE_INFINITY
  return (...args) => {
    if (bootTimeMs() - lastMs < ms) return
    lastMs = bootTimeMs()
    call(...args)
  }
}

/** @param error of what runs beside; ending the agent ends it with an AbortError */
function unlessEnding(error: unknown): void {
  if (!(error instanceof Error) || error.name !== 'AbortError') throw error
}

function requireRunning(why: MetabindError | undefined): void {
  if (why !== undefined) throw new MetabindError('AGENT_STOPPED', why.code)
}
