import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { ERRORS } from '../error-table.ts'
import { MetabindError } from '../errors.ts'
import { TOKEN_ANSWERS } from '../federation/fleet-tokens.ts'
import type { Source } from '../metadata/source.ts'
import { CACHE_STATES, type Counters, ENROLMENT_OUTCOMES } from '../relay/counters.ts'
import { LIMIT_KINDS } from '../relay/limits.ts'

/**
 * What the agent counts, in the form of Prometheus. docs/metrics.md has every name. Labels come from
 * fixed sets, never from a caller: a value that a caller chooses could grow memory, or carry a secret.
 */
export interface Metrics {
  /** The text exposition, format 0.0.4. */
  text(): Promise<string>
  readonly contentType: string
  observeTpm(command: string, seconds: number): void
  /** The same source, its reads counted and timed. */
  watch(source: Source): Source
  end(): void
}

/** What is looked up when somebody asks, rather than counted. */
export interface Gauges {
  readonly version: string
  readonly isReady: () => boolean
  readonly epochKeysHeld: () => number
  /** Undefined if no registrar is configured. */
  readonly isEnrolled: () => boolean | undefined
}

type Collected = readonly (readonly [labels: Record<string, string>, value: number])[]

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]
// Each look wakes an agent that has nothing to do.
const LOOP_EVERY_MS = 1000
// Begin at 0, as an alert on their increase would miss the first.
const UPSTREAM_OUTCOMES = [
  'ok',
  ...Object.keys(ERRORS).filter((code) => code.startsWith('SOURCE_')),
]

export function metrics(counters: Counters, gauges: Gauges): Metrics {
  const registry = new Registry()
  registerRequests(registry, counters)
  registerFederation(registry, counters, gauges)
  registerAudit(registry, counters)
  registerProcess(registry, gauges)
  const tpm = histogram(registry, 'metabind_tpm_command_seconds', ['command'], {
    help: 'Time that TPM commands took, by the name of the command.',
  })
  const upstream = histogram(registry, 'metabind_upstream_seconds', ['outcome'], {
    help: 'Time that the metadata service of the cloud took, by outcome: ok or an error code.',
  })
  for (const outcome of UPSTREAM_OUTCOMES) upstream.zero({ outcome })
  const lateness = histogram(registry, 'metabind_event_loop_delay_seconds', [], {
    help: 'How late a timer ran that is due ten times a second.',
  })
  const timer = watchLoop((seconds) => lateness.observe(seconds))
  return {
    text: () => registry.metrics(),
    contentType: registry.contentType,
    observeTpm: (command, seconds) => tpm.observe({ command }, seconds),
    watch: (source) => watched(source, upstream),
    end: () => clearInterval(timer),
  }
}

function registerRequests(registry: Registry, counters: Counters): void {
  counter(registry, 'metabind_requests_total', ['route', 'code'], {
    help: 'Requests on the metadata socket, by what they asked for and how they were answered.',
    collect: () =>
      [...counters.requests].flatMap(([route, codes]) =>
        [...codes].map(([code, count]) => [{ route, code }, count] as const),
      ),
  })
  counter(registry, 'metabind_tokens_issued_total', [], {
    help: 'Session tokens issued.',
    collect: () => [[{}, counters.tokensIssued]],
  })
  counter(registry, 'metabind_cache_answers_total', ['state'], {
    help: 'Metadata answers that came from the cache (hit), the source (miss) or an outage (stale).',
    collect: () => CACHE_STATES.map((state) => [{ state }, counters.cacheAnswers.get(state) ?? 0]),
  })
  counter(registry, 'metabind_limit_refusals_total', ['kind'], {
    help: 'Requests and connections refused by a limit.',
    collect: () => LIMIT_KINDS.map((kind) => [{ kind }, counters.limits.get(kind) ?? 0]),
  })
  gauge(registry, 'metabind_connections', [], {
    help: 'Connections open on the metadata socket.',
    collect: () => [[{}, counters.connections]],
  })
}

/** Of an agent without a registrar there is none of it: nothing is to be alarmed about. */
function registerFederation(registry: Registry, counters: Counters, gauges: Gauges): void {
  const isOn = () => gauges.isEnrolled() !== undefined
  gauge(registry, 'metabind_registrar_enrolled', [], {
    help: '1 while the instance is enrolled at its registrar.',
    collect: () => (isOn() ? [[{}, gauges.isEnrolled() === true ? 1 : 0]] : []),
  })
  counter(registry, 'metabind_registrar_enrolments_total', ['outcome'], {
    help: 'Attempts to enrol at the registrar: ok, down (no answer that can be used), refused.',
    collect: () =>
      isOn()
        ? ENROLMENT_OUTCOMES.map((outcome) => [{ outcome }, counters.enrolments.get(outcome) ?? 0])
        : [],
  })
  counter(registry, 'metabind_registrar_tokens_total', ['answer'], {
    help: 'Tokens of the registrar that were asked for: kept, kept while another is fetched, exchanged.',
    collect: () =>
      isOn()
        ? TOKEN_ANSWERS.map((answer) => [{ answer }, counters.fleetTokens.get(answer) ?? 0])
        : [],
  })
}

function registerAudit(registry: Registry, counters: Counters): void {
  counter(registry, 'metabind_audit_records_total', [], {
    help: 'Audit records made.',
    collect: () => [[{}, counters.auditRecords]],
  })
  counter(registry, 'metabind_audit_suppressed_total', [], {
    help: 'Refusals that were only counted, because one user caused too many of them.',
    collect: () => [[{}, counters.auditSuppressed]],
  })
  counter(registry, 'metabind_audit_lost_total', [], {
    help: 'Audit records that could not be written to the audit file.',
    collect: () => [[{}, counters.auditLost]],
  })
  counter(registry, 'metabind_log_lost_total', [], {
    help: 'Log lines dropped because nobody reads standard output.',
    collect: () => [[{}, counters.logLost]],
  })
}

function registerProcess(registry: Registry, gauges: Gauges): void {
  gauge(registry, 'metabind_build_info', ['version', 'node'], {
    help: 'Always 1; the labels say what runs.',
    collect: () => [[{ version: gauges.version, node: process.version }, 1]],
  })
  gauge(registry, 'metabind_ready', [], {
    help: '1 while the agent issues and accepts tokens.',
    collect: () => [[{}, gauges.isReady() ? 1 : 0]],
  })
  gauge(registry, 'metabind_epochs_held', [], {
    help: 'Token keys in memory, one for each hour.',
    collect: () => [[{}, gauges.epochKeysHeld()]],
  })
  gauge(registry, 'metabind_uptime_seconds', [], {
    help: 'Time since the process started.',
    collect: () => [[{}, process.uptime()]],
  })
  gauge(registry, 'metabind_resident_memory_bytes', [], {
    help: 'Resident memory of the process.',
    collect: () => [[{}, process.memoryUsage.rss()]],
  })
  counter(registry, 'metabind_cpu_seconds_total', [], {
    help: 'CPU time of the process, user and system.',
    collect: () => [[{}, cpuSeconds()]],
  })
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Nothing is reset when somebody reads: two who scrape see the same. */
function watchLoop(observe: (seconds: number) => void): NodeJS.Timeout {
  let dueAtMs = performance.now() + LOOP_EVERY_MS
  const look = (): void => {
    const nowMs = performance.now()
    observe(Math.max(0, nowMs - dueAtMs) / 1000)
    dueAtMs = nowMs + LOOP_EVERY_MS
  }
  return setInterval(look, LOOP_EVERY_MS).unref()
}

interface Described {
  readonly help: string
  readonly collect: () => Collected
}

function counter(registry: Registry, name: string, labelNames: string[], what: Described): void {
  new Counter({
    name,
    labelNames,
    help: what.help,
    registers: [registry],
    collect() {
      this.reset()
      for (const [labels, value] of what.collect()) this.inc(labels, value)
    },
  })
}

function gauge(registry: Registry, name: string, labelNames: string[], what: Described): void {
  new Gauge({
    name,
    labelNames,
    help: what.help,
    registers: [registry],
    collect() {
      this.reset()
      for (const [labels, value] of what.collect()) this.set(labels, value)
    },
  })
}

function histogram(
  registry: Registry,
  name: string,
  labelNames: string[],
  { help }: { readonly help: string },
): Histogram {
  return new Histogram({ name, labelNames, help, buckets: SECONDS, registers: [registry] })
}

function watched(source: Source, upstream: Histogram): Source {
  return {
    ...source,
    read: async (...asked) => {
      const startedAtMs = performance.now()
      const observe = (outcome: string) =>
        upstream.observe({ outcome }, (performance.now() - startedAtMs) / 1000)
      try {
        const item = await source.read(...asked)
        observe('ok')
        return item
      } catch (error) {
        observe(error instanceof MetabindError ? error.code : 'INTERNAL')
        throw error
      }
    },
  }
}
