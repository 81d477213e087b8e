import { bootTimeMs } from 'metabind-linux'
import { admin } from '../admin/admin.ts'
import { eventStreams } from '../admin/event-stream.ts'
import { answerRefusals } from '../admin/refusals.ts'
import type { AgentStatus } from '../admin-api.ts'
import type { Audit } from '../audit/audit.ts'
import { requireProc } from '../caller/process.ts'
import type { Config } from '../config.ts'
import { causeChain, MetabindError } from '../errors.ts'
import { closeGracefully } from '../http/graceful-close.ts'
import { listenAt, listenOnInherited } from '../http/listen.ts'
import { metricsServer } from '../http/metrics-server.ts'
import { isRemarkable } from '../identity/instance-record.ts'
import type { Log } from '../log.ts'
import type { Counters } from '../relay/counters.ts'
import type { Supervisor } from '../service-manager.ts'
import { VERSION } from '../version.ts'
import { confirmInstance } from './confirm-instance.ts'
import { lockDirectory } from './directory-lock.ts'
import { type Ending, endInSteps } from './ending.ts'
import { changeInWords } from './instance-watch.ts'
import { type AgentParts, agentParts, problemOf, stoppedBecause } from './parts.ts'
import { serving, servingStatus } from './serving.ts'
import { httpBounds, socketPlace } from './settings.ts'
import { snapshotForPage } from './snapshot.ts'
import type { InheritedSockets } from './socket-activation.ts'
import type { ReadyState, StartupState } from './startup.ts'
import { startupDeps } from './startup-deps.ts'
import { FATAL } from './startup-retry.ts'
import { agentStatus } from './status.ts'
import { readTrust } from './trust-files.ts'

/** An agent from its start to its end. */
export interface Agent {
  /** Resolves when the agent serves; rejects if only a new process can help. */
  readonly started: Promise<void>
  /** Rejects if only a new process can help, once the agent serves. Never resolves. */
  readonly failed: Promise<never>
  /**
   * Takes over what may change while running: the policy, trust anchors, tokens' settings and the
   * log level. All of it or, if something is refused, nothing.
   *
   * @throws MetabindError POLICY_…, FILE_UNUSABLE, VERIFY_ANCHOR
   */
  reload(config: Config): Promise<void>
  /** Goes on in a new audit file, if there is one. */
  rotateAudit(): void
  readonly audit: Audit
  /**
   * Stops serving, writes the last records and wipes the keys: each step within its bound, whatever
   * became of the one before.
   */
  end(how: Ending): Promise<void>
}

/**
 * Builds every part once and starts. The order of things is in the functions below: start, reload, end.
 *
 * @throws MetabindError DIRECTORY_TAKEN, DIRECTORY_ABSENT, and those of agentParts
 */
export function startAgent(
  config: Config,
  log: Log,
  supervisor: Supervisor,
  counters: Counters,
  inherited: InheritedSockets = {},
): Agent {
  // Before the first record is written: the chain of records is one agent's.
  for (const directory of new Set(Object.values(config.directories))) lockDirectory(directory)
  const parts = agentParts(config, log, supervisor, counters, inherited)
  return {
    started: start(parts),
    failed: parts.failed.promise,
    reload: (next) => reload(parts, next),
    rotateAudit: parts.trail.rotate,
    audit: parts.trail.audit,
    end: (how) => end(parts, how),
  }
}

/**
 * The admin socket answers from the beginning on. Callers of the metadata socket wait in its queue
 * until the agent is ready, if systemd made the socket.
 */
async function start(parts: AgentParts): Promise<void> {
  const { state, startup, cache, supervisor } = parts
  parts.trail.audit({ event: 'agent.started', detail: `version ${VERSION}` })
  requireProc()
  await parts.policy.take(state.config.policy.file)
  await serveAdmin(parts)
  await serveMetrics(parts)
  const ready = await startup.toReady(startupDepsOf(parts))
  cache.persistIn(ready)
  await serve(parts, ready)
  sayReady(parts, ready)
  supervisor.ready(servingStatus(ready))
  // Behind everything that callers on this machine wait for.
  state.served?.federation?.start()
  if (ready.insteadOfSource !== undefined) void confirm(parts, ready, ready.insteadOfSource)
}

function startupDepsOf({ state, dialect, tpm, cache, log, inherited }: AgentParts) {
  return startupDeps(state.config, dialect, tpm, cache.metadata, () => state.trust, log, inherited)
}

function serveAdmin(parts: AgentParts): Promise<void> {
  const { state, policy, lockdown } = parts
  const snapshot = () => snapshotForPage(parts, statusOf(parts))
  const streams = eventStreams(snapshot)
  const server = admin({
    bounds: httpBounds(state.config),
    status: () => statusOf(parts),
    policy: () => policy.current().policy,
    running: () => state.served?.running,
    observed: () => state.served?.observed() ?? [],
    lockdown,
    snapshot,
    streams,
    readers: parts.readers,
    alarms: parts.trail.alarms,
    audit: parts.trail.audit,
    metrics: parts.meter,
    logFault: parts.logFault,
  })
  state.adminServer = server
  state.streams = streams
  return listenAt(server, socketPlace(state.config, 'admin', parts.inherited.admin))
}

/** Only where systemd holds a socket for them, which is off unless somebody turned it on. */
async function serveMetrics({ state, inherited, meter, logFault }: AgentParts): Promise<void> {
  if (inherited.metrics === undefined) return
  const bounds = httpBounds(state.config)
  const server = metricsServer({ bounds, metrics: meter, clockMs: bootTimeMs })
  answerRefusals(server, logFault)
  state.metricsServer = server
  await listenOnInherited(server, 'metabind-metrics.socket', inherited.metrics)
}

function statusOf(parts: AgentParts): AgentStatus {
  const { config } = parts.state
  const status = agentStatus(
    config,
    parts.endpoint,
    parts.startup.state,
    problemOf(parts),
    parts.policy.current(),
    parts.trail.head(),
    parts.cache.metadata.state.refusedRoles,
  )
  return {
    ...status,
    registrar: parts.state.served?.federation?.status(),
    lockdown: config.transparent.enabled ? parts.lockdown.known() : undefined,
  }
}

function serve(parts: AgentParts, ready: ReadyState): Promise<void> {
  const { state, failed } = parts
  state.served = serving(ready, {
    ...parts,
    config: () => state.config,
    metadata: parts.cache.metadata,
    requireRunning: () => {
      const why = stoppedBecause(state)
      if (why !== undefined) throw new MetabindError('AGENT_STOPPED', why.code)
    },
    onStopped: (why) => {
      if (FATAL.includes(why.code)) failed.reject(why)
    },
  })
  return state.served.listen()
}

/** The source was down at start, and the instance is the one that this boot knew before. */
async function confirm(parts: AgentParts, ready: ReadyState, why: MetabindError): Promise<void> {
  const { log, dialect, ending, cache } = parts
  log.warn({ cause: causeChain(why) }, 'running on what this boot proved before')
  const { instanceId } = ready.tokenKeys.identity
  try {
    await confirmInstance(instanceId, cache.metadata, dialect, ending.signal)
    log.info('the source confirms the instance')
  } catch (error) {
    // Else the agent ends.
    if (!(error instanceof MetabindError)) return
    parts.state.otherInstance = error
    parts.trail.audit({ event: 'agent.stopped', code: error.code, detail: error.detail })
    parts.supervisor.notReady(`neither issuing nor accepting tokens: ${error.message}`)
  }
}

async function reload({ state, policy, log, trail }: AgentParts, next: Config): Promise<void> {
  const trust = readTrust(next)
  await policy.take(next.policy.file)
  state.trust = trust
  state.config = { ...state.config, token: next.token, log: next.log, policy: next.policy }
  log.level = next.log.level
  trail.audit({ event: 'config.reloaded' })
}

async function end(parts: AgentParts, how: Ending): Promise<void> {
  const { state, startup, meter, source, tpm, trail, cache, log } = parts
  parts.ending.abort()
  state.served?.keyRefresher.end()
  state.served?.federation?.end()
  cache.stop()
  await endInSteps(how, {
    closeServers: () => closeServers(parts),
    trail,
    ends: [cache.end, meter.end, () => clearKeys(startup.state)],
    closes: [source.close, tpm.close],
    onFault: (error) => log.error({ cause: causeChain(error) }, 'ending'),
  })
}

async function closeServers({ state }: AgentParts): Promise<void> {
  state.streams?.end()
  const own = [state.adminServer, state.metricsServer]
  const closing = own.map((server) => server && closeGracefully(server))
  await Promise.allSettled([...closing, state.served?.close()])
}

function clearKeys(state: StartupState): void {
  if (state.at === 'ready') state.tokenKeys.clear()
  if ('sealedFiles' in state) state.sealedFiles.clear()
}

function sayReady({ log, trail }: AgentParts, ready: ReadyState): void {
  const { iid, identity } = ready.tokenKeys
  const { unreadable } = ready.keys.endorsement
  if (unreadable.length > 0) log.warn({ unreadable }, 'taken for absent: not to be read in the TPM')
  log.info({ ...ready.selfTest }, 'self-test passed')
  if (isRemarkable(ready.change)) {
    trail.audit({ event: 'instance.changed', detail: changeInWords(ready.change) })
  }
  log.info({ iid, instanceId: identity.instanceId }, 'ready')
}
