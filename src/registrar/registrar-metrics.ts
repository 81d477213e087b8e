import type { FastifyInstance } from 'fastify'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { RateError } from '../errors.ts'
import { type Listener, listenOnTcp } from '../http/listen-tcp.ts'
import { metricsServer } from '../http/metrics-server.ts'
import { INSTANCE_STATES } from '../registrar-repository/enrolled-instance.ts'
import { VERSION } from '../version.ts'
import type { RegistrarConfig } from './registrar-config.ts'

/**
 * What the registrar counts, in the form of Prometheus; docs/fleet-operations.md has every name. Labels come from fixed
 * sets, never from who asks: a value that somebody chooses could grow memory, or carry a secret.
 */
export interface RegistrarMetrics {
  /** Counts each request of a server, by the path of its route and the status. */
  watch(app: FastifyInstance): void
  /** How many instances are in which state. */
  counted(states: ReadonlyMap<string, number>): void
  /** A connection was closed since its address had too many. */
  refusedConnection(): void
  /** The keys were refreshed, and so the database answered. */
  refreshed(nowMs: number): void
  /** The end of the chain of events was found to be one that is signed, or to be signed in time. */
  eventsHeld(nowMs: number): void
  /** Whether the token of PKCS #11 can be used. Not called, there is none. */
  keyToken(isUp: boolean): void
  readonly text: () => Promise<string>
  readonly contentType: string
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]
const NO_ROUTE = 'none'

export function registrarMetrics(): RegistrarMetrics {
  const registers = [new Registry()]
  const [registry] = registers
  const requests = new Counter({
    name: 'metabind_registrar_requests_total',
    help: 'Requests, by the path of the route and the status.',
    labelNames: ['route', 'status'],
    registers,
  })
  const seconds = new Histogram({
    name: 'metabind_registrar_request_seconds',
    help: 'Time from a request to its answer, by the path of the route.',
    labelNames: ['route'],
    buckets: SECONDS,
    registers,
  })
  const refusedConnections = new Counter({
    name: 'metabind_registrar_connections_refused_total',
    help: 'Connections closed since their address had too many.',
    registers,
  })
  const instances = new Gauge({
    name: 'metabind_registrar_instances',
    help: 'Instances by their state; counted once a minute.',
    labelNames: ['state'],
    registers,
  })
  const refreshed = new Gauge({
    name: 'metabind_registrar_refreshed_timestamp_seconds',
    help: 'When keys were last refreshed from the database; once a minute.',
    registers,
  })
  const eventsHeld = new Gauge({
    name: 'metabind_registrar_events_held_timestamp_seconds',
    help: 'When the chain of events was last found to continue what was signed of it; once a minute.',
    registers,
  })
  new Gauge({
    name: 'metabind_registrar_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['version', 'node'],
    registers,
  }).set({ version: VERSION, node: process.version }, 1)
  new Gauge({
    name: 'metabind_registrar_resident_memory_bytes',
    help: 'Resident memory of the process.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  let keyTokenUp: Gauge | undefined
  return {
    keyToken: (isUp) => {
      keyTokenUp ??= new Gauge({
        name: 'metabind_registrar_key_token_up',
        help: 'Whether the PKCS #11 token with the signing keys can be used.',
        registers,
      })
      keyTokenUp.set(isUp ? 1 : 0)
    },
    watch: (app) =>
      void app.addHook('onResponse', (request, reply, done) => {
        const route = request.routeOptions.url ?? NO_ROUTE
        requests.inc({ route, status: String(reply.statusCode) })
        seconds.observe({ route }, reply.elapsedTime / 1000)
        done()
      }),
    counted: (states) => {
      for (const state of INSTANCE_STATES) instances.set({ state }, states.get(state) ?? 0)
    },
    refusedConnection: () => refusedConnections.inc(),
    refreshed: (nowMs) => refreshed.set(nowMs / 1000),
    eventsHeld: (nowMs) => eventsHeld.set(nowMs / 1000),
    text: async () => (await registry?.metrics()) ?? '',
    contentType: Registry.PROMETHEUS_CONTENT_TYPE,
  }
}

const BOUNDS = {
  headerBytesMax: 16_384,
  bodyBytesMax: 1024,
  requestTimeoutMs: 15_000,
  idleTimeoutMs: 75_000,
}

/**
 * Serves them on an address of their own: whoever reaches it reads them.
 *
 * @returns what closes it; undefined if none is configured
 * @throws MetabindError LISTEN_FAILED
 */
export async function serveMetrics(
  { address, port }: RegistrarConfig['metrics'],
  metrics: RegistrarMetrics,
): Promise<Listener['close'] | undefined> {
  if (port === undefined) return undefined
  const app = metricsServer({ bounds: BOUNDS, metrics, clockMs: () => performance.now() })
  app.setErrorHandler((error, _request, reply) =>
    reply.code(error instanceof RateError ? 429 : 500).send(),
  )
  app.setNotFoundHandler((_request, reply) => reply.code(404).send())
  const { close } = await listenOnTcp(app, { address, port })
  return close
}
