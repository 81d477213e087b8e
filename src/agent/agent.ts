import type { FastifyInstance } from 'fastify'
import { bootTimeMs } from 'metabind-linux'
import { admin } from '../admin/admin.ts'
import { metrics } from '../admin/prometheus.ts'
import type { Audit } from '../audit/audit.ts'
import { requireProc } from '../caller/process.ts'
import type { Config } from '../config.ts'
import { DIALECTS } from '../dialect/dialects.ts'
import { causeChain, MetabindError } from '../errors.ts'
import { closeGracefully } from '../http/graceful-close.ts'
import { listenAt } from '../http/listen.ts'
import { isRemarkable } from '../identity/instance-record.ts'
import { instanceTpm } from '../identity/tpm.ts'
import type { Log } from '../log.ts'
import { openSource } from '../metadata/source.ts'
import { policyInForce } from '../policy/current.ts'
import type { Counters } from '../relay/counters.ts'
import { lockdownRecord } from '../relay/lockdown-record.ts'
import { VERSION } from '../version.ts'
import { openAuditTrail } from './audit-trail.ts'
import { confirmInstance } from './confirm-instance.ts'
import { type Ending, endInSteps } from './ending.ts'
import { changeInWords } from './instance-watch.ts'
import { cachedMetadata } from './metadata-cache.ts'
import { type Serving, serving, servingStatus } from './serving.ts'
import { httpBounds, socketPlace, sourceBounds } from './settings.ts'
import type { InheritedSockets } from './socket-activation.ts'
import type { ReadyState, StartupState } from './startup.ts'
import { startupDeps } from './startup-deps.ts'
import { startupLoop } from './startup-loop.ts'
import { FATAL } from './startup-retry.ts'
import { agentStatus } from './status.ts'
import type { Supervisor } from './supervisor.ts'
import { readTrust } from './trust-files.ts'

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
  /**
   * Stops serving, writes the last records and wipes the keys: each step within its bound, whatever
   * became of the one before.
   */
  end(how: Ending): Promise<void>
}

/**
 * Builds every part once and runs its startup. The admin socket answers from the beginning on. Callers of
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
  let trust = readTrust(config)
  let served: Serving | undefined
  let otherInstance: MetabindError | undefined
  const ending = new AbortController()
  const failed = Promise.withResolvers<never>()
  const servers: FastifyInstance[] = []

  const dialect = DIALECTS[config.source.dialect]
  const endpoint = config.source.endpoint ?? dialect.endpoint
  const startup = startupLoop(supervisor, log, ending.signal)
  const stoppedBecause = () => otherInstance ?? served?.keyRefresher.stoppedBecause()
  const problem = () => stoppedBecause() ?? startup.waitsFor
  const logFault = (error: MetabindError) => log.error({ cause: causeChain(error) }, error.code)
  const meter = metrics(counters, {
    version: VERSION,
    isReady: () => startup.state.at === 'ready' && problem() === undefined,
    epochKeysHeld: () => (startup.state.at === 'ready' ? startup.state.tokenKeys.count : 0),
  })
  const source = meter.watch(openSource(dialect, endpoint, sourceBounds(config), bootTimeMs))
  const tpm = instanceTpm(
    config.tpm.tcti,
    config.tpm.command_timeout_ms,
    meter.observeTpm,
    failed.reject,
  )
  const trail = openAuditTrail(config, log, counters)
  const { audit } = trail
  const lockdown = lockdownRecord(audit, Date.now)
  const cached = cachedMetadata(config, dialect, source, log)
  const { metadata } = cached
  const policy = policyInForce(dialect.secretPaths, audit)

  const serveAdmin = (): Promise<void> => {
    const app = admin({
      bounds: httpBounds(config),
      status: () => ({
        ...agentStatus(
          config,
          endpoint,
          startup.state,
          problem(),
          policy.current(),
          trail.head(),
          metadata.state.refusedRoles,
        ),
        ...(config.transparent.enabled ? { lockdown: lockdown.known() } : {}),
      }),
      policy: () => policy.current().policy,
      running: () => served?.running,
      observed: () => served?.observed() ?? [],
      lockdown,
      audit,
      metrics: meter,
      logFault,
    })
    servers.push(app)
    return listenAt(app, socketPlace(config, 'admin', inherited.admin))
  }

  const serve = (ready: ReadyState): Promise<void> => {
    served = serving(ready, {
      ...{ config: () => config, dialect, endpoint, inherited, tpm, trail, metadata, policy },
      ...{ counters, lockdown, supervisor, log, logFault },
      requireRunning: () => {
        const why = stoppedBecause()
        if (why !== undefined) throw new MetabindError('AGENT_STOPPED', why.code)
      },
      onStopped: (why) => {
        if (FATAL.includes(why.code)) failed.reject(why)
      },
    })
    return served.listen()
  }

  const start = async (): Promise<void> => {
    audit({ event: 'agent.started', detail: `version ${VERSION}` })
    requireProc()
    await policy.take(config.policy.file)
    await serveAdmin()
    const ready = await startup.toReady(
      startupDeps(config, dialect, tpm, metadata, () => trust, log),
    )
    cached.keepIn(ready)
    await serve(ready)
    sayReady(ready, log, audit)
    supervisor.ready(servingStatus(ready))
    if (ready.insteadOfSource !== undefined) void confirm(ready, ready.insteadOfSource)
  }

  /** The source was down at start, and the instance is the one that this boot knew before. */
  const confirm = async ({ tokenKeys }: ReadyState, why: MetabindError): Promise<void> => {
    log.warn({ cause: causeChain(why) }, 'running on what this boot proved before')
    const { instanceId } = tokenKeys.identity
    try {
      await confirmInstance(instanceId, metadata, dialect, ending.signal)
      log.info('the source confirms the instance')
    } catch (error) {
      // Else the agent ends.
      if (!(error instanceof MetabindError)) return
      otherInstance = error
      audit({ event: 'agent.stopped', code: error.code, detail: error.detail })
      supervisor.notReady(`neither issuing nor accepting tokens: ${error.message}`)
    }
  }

  return {
    started: start(),
    failed: failed.promise,
    reload: async (next) => {
      const nextTrust = readTrust(next)
      await policy.take(next.policy.file)
      trust = nextTrust
      config = { ...config, token: next.token, log: next.log, policy: next.policy }
      log.level = next.log.level
      audit({ event: 'config.reloaded' })
    },
    rotateAudit: trail.rotate,
    audit,
    end: async (how) => {
      ending.abort()
      served?.keyRefresher.end()
      cached.stop()
      await endInSteps(how, {
        closeServers: () => Promise.allSettled([...servers.map(closeGracefully), served?.close()]),
        trail,
        ends: [cached.end, meter.end, () => clearKeys(startup.state)],
        closes: [source.close, tpm.close],
        onFault: (error) => log.error({ cause: causeChain(error) }, 'ending'),
      })
    },
  }
}

function clearKeys(state: StartupState): void {
  if (state.at === 'ready') state.tokenKeys.clear()
  if ('sealedFiles' in state) state.sealedFiles.clear()
}

function sayReady(ready: ReadyState, log: Log, audit: Audit): void {
  const { iid, identity } = ready.tokenKeys
  const { unreadable } = ready.keys.endorsement
  if (unreadable.length > 0) log.warn({ unreadable }, 'taken for absent: not to be read in the TPM')
  log.info({ ...ready.selfTest }, 'self-test passed')
  if (isRemarkable(ready.change)) {
    audit({ event: 'instance.changed', detail: changeInWords(ready.change) })
  }
  log.info({ iid, instanceId: identity.instanceId }, 'ready')
}
