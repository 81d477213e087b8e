import type { FastifyInstance } from 'fastify'
import { bootTimeMs } from 'metabind-linux'
import type { EventStreams } from '../admin/event-stream.ts'
import { type Metrics, metrics } from '../admin/prometheus.ts'
import type { Config } from '../config.ts'
import type { Dialect } from '../dialect/dialect.ts'
import { DIALECTS } from '../dialect/dialects.ts'
import { endpointOf } from '../dialect/endpoint.ts'
import { causeChain, type MetabindError } from '../errors.ts'
import type { RegistrarPlace } from '../federation/registrar-http.ts'
import { type InstanceTpm, instanceTpm } from '../identity/tpm.ts'
import type { Log } from '../log.ts'
import { openSource } from '../metadata/source.ts'
import { type WatchedSource, watchedSource } from '../metadata/watched-source.ts'
import { type PolicyInForce, policyInForce } from '../policy/current.ts'
import { type Readers, readers } from '../policy/readers.ts'
import type { Counters } from '../relay/counters.ts'
import { type LockdownRecord, lockdownRecord } from '../relay/lockdown-record.ts'
import type { Supervisor } from '../service-manager.ts'
import type { ParsedTrust } from '../verify/trust.ts'
import { VERSION } from '../version.ts'
import { type AuditTrail, openAuditTrail } from './audit-trail.ts'
import { type MetadataCache, metadataCache } from './metadata-cache.ts'
import { registrarPlace } from './registrar-place.ts'
import type { Serving } from './serving.ts'
import { sourceBounds } from './settings.ts'
import type { InheritedSockets } from './socket-activation.ts'
import { type StartupLoop, startupLoop } from './startup-loop.ts'
import { readTrust } from './trust-files.ts'

/** What an agent is put together from. All of it is built once, before anything listens. */
export interface AgentParts {
  readonly state: AgentState
  readonly dialect: Dialect
  /** `http://ADDRESS[:PORT]` of the metadata service. */
  readonly endpoint: string
  /** Undefined if no registrar is configured. */
  readonly registrar: RegistrarPlace | undefined
  readonly startup: StartupLoop
  readonly meter: Metrics
  readonly source: WatchedSource
  readonly tpm: InstanceTpm
  readonly trail: AuditTrail
  readonly lockdown: LockdownRecord
  readonly cache: MetadataCache
  readonly policy: PolicyInForce
  readonly readers: Readers
  readonly log: Log
  readonly logFault: (error: MetabindError) => void
  readonly supervisor: Supervisor
  readonly counters: Counters
  readonly inherited: InheritedSockets
  /** Aborted when the agent ends. */
  readonly ending: AbortController
  /** Rejected if only a new process can help. */
  readonly failed: PromiseWithResolvers<never>
}

/** What changes while an agent runs. */
export interface AgentState {
  /** In force: a reload takes over some sections. */
  config: Config
  trust: ParsedTrust
  adminServer: FastifyInstance | undefined
  /** To those who look at the status page. */
  streams: EventStreams | undefined
  metricsServer: FastifyInstance | undefined
  /** Undefined until the agent is ready. */
  served: Serving | undefined
  /** Set when the source names another instance than the one that the agent runs as. */
  otherInstance: MetabindError | undefined
}

/** @throws MetabindError FILE_UNUSABLE, VERIFY_ANCHOR; DIRECTORY_UNSAFE, DIRECTORY_FAULT of the audit file */
export function agentParts(
  config: Config,
  log: Log,
  supervisor: Supervisor,
  counters: Counters,
  inherited: InheritedSockets,
): AgentParts {
  const state: AgentState = {
    config,
    trust: readTrust(config),
    adminServer: undefined,
    streams: undefined,
    metricsServer: undefined,
    served: undefined,
    otherInstance: undefined,
  }
  const dialect = DIALECTS[config.source.dialect]
  const endpoint = endpointOf(config.source)
  const ending = new AbortController()
  const failed = Promise.withResolvers<never>()
  const startup = startupLoop(supervisor, log, ending.signal)
  const meter = metrics(counters, {
    version: VERSION,
    isReady: () => startup.state.at === 'ready' && problemOf({ startup, state }) === undefined,
    epochKeysHeld: () => (startup.state.at === 'ready' ? startup.state.tokenKeys.count : 0),
    isEnrolled: () => {
      if (config.registrar.url === undefined) return undefined
      return state.served?.federation?.standing.is === 'enrolled'
    },
  })
  const opened = openSource(dialect, endpoint, sourceBounds(config), bootTimeMs)
  const source = watchedSource(meter.watch(opened), Date.now)
  const { tcti, command_timeout_ms } = config.tpm
  const tpm = instanceTpm(tcti, command_timeout_ms, meter.observeTpm, failed.reject)
  const trail = openAuditTrail(config, log, counters)
  return {
    registrar: registrarPlace(config),
    ...{ state, dialect, endpoint, startup, meter, source, tpm, trail },
    lockdown: lockdownRecord(trail.audit, Date.now),
    cache: metadataCache(config, dialect, source, log),
    policy: policyInForce(dialect.secretPaths, trail.audit),
    readers: readers(Date.now),
    ...{ log, supervisor, counters, inherited, ending, failed },
    logFault: (error) => log.error({ cause: causeChain(error) }, error.code),
  }
}

/** Why tokens are neither issued nor accepted any more; undefined while they are. */
export function stoppedBecause({ otherInstance, served }: AgentState): MetabindError | undefined {
  return otherInstance ?? served?.keyRefresher.stoppedBecause()
}

/** Why the agent has stopped, or what its startup waits for. */
export function problemOf({
  state,
  startup,
}: Pick<AgentParts, 'state' | 'startup'>): MetabindError | undefined {
  return stoppedBecause(state) ?? startup.waitsFor
}
