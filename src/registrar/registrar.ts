import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { causeChain } from '../errors.ts'
import { closeGracefully } from '../http/graceful-close.ts'
import { type Listener, listenOnTcp } from '../http/listen-tcp.ts'
import type { Log } from '../log.ts'
import { openCounts } from '../open-counts.ts'
import { type KeyRing, keyRing } from '../registrar-keys/key-ring.ts'
import { type KeyKind, SIGNING_ALGORITHMS } from '../registrar-keys/key-schedule.ts'
import { keyStore } from '../registrar-keys/key-store.ts'
import { type MasterKey, openMasterKey } from '../registrar-keys/master-key.ts'
import { isTokenFault, type KeyToken, openKeyToken } from '../registrar-keys/pkcs11-token.ts'
import type { KeyStore } from '../registrar-keys/private-key.ts'
import type { Repository } from '../registrar-repository/repository.ts'
import { usableFromMs } from '../registrar-repository/restore-mark.ts'
import type { AdmissionRules } from './admission.ts'
import { admissionRules } from './admission-rules.ts'
import { type AkAuthority, akAuthority } from './ak-authority.ts'
import { ratePerAddress, type TakeOfAddress } from './client-address.ts'
import { boundConnections } from './connections-per-address.ts'
import { type PublicDocument, publicDocuments, TOKEN_PATH } from './discovery.ts'
import { dpopNonces } from './dpop-nonce.ts'
import { enrolment } from './enrolment.ts'
import { enrolmentNonces } from './enrolment-nonce.ts'
import {
  CHECKPOINT_SCHEDULE,
  type EventCheckpoints,
  eventCheckpoints,
} from './event-checkpoints.ts'
import { openRepository } from './open-repository.ts'
import { serveReadApi } from './read-api.ts'
import type { RegistrarConfig } from './registrar-config.ts'
import { type RegistrarMetrics, registrarMetrics, serveMetrics } from './registrar-metrics.ts'
import { registrarServer } from './registrar-server.ts'
import { reloadedConfig } from './reloaded-config.ts'
import { writeStaticFiles } from './static-files.ts'
import { statusList } from './status-list.ts'
import { type RegistrarTls, registrarTls } from './tls.ts'
import { exchangeToken } from './token-exchange.ts'
import { tokenIssuer } from './token-issuer.ts'

/** A registrar that answers. */
export interface Registrar {
  readonly port: number
  /**
   * Reads the certificate and its key again, and takes over what of a configuration a running registrar can take over.
   * A certificate that cannot be used is logged, and the old one stays.
   *
   * @param read what the files say now
   * @returns the names of what was changed and needs a restart
   * @throws what `read` throws; MetabindError FILE_UNUSABLE, VERIFY_ANCHOR: then nothing of it was taken over
   */
  reload(read: () => RegistrarConfig): readonly string[]
  /** Answers what is under way, and closes the database. */
  close(): Promise<void>
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const REFRESH_EVERY_MS = 60_000

/**
 * Opens the database, reads keys and trust, and listens.
 *
 * @throws MetabindError REGISTRAR_DATABASE, REGISTRAR_TLS, DIRECTORY_…, FILE_UNUSABLE, VERIFY_ANCHOR, LISTEN_FAILED
 */
export async function startRegistrar(config: RegistrarConfig, log: Log): Promise<Registrar> {
  const settings: Settings = { config, rules: admissionRules(config), usableFromMs: 0 }
  const tls = config.tls && registrarTls(config.tls, log)
  const master = openMasterKey(config.storage.master_key)
  const repository = await openRepository(config.storage, 'make')
  const metrics = registrarMetrics()
  const token = await tokenOf(config, log, metrics)
  const newKeys = config.keys.pkcs11?.new_keys ?? 'database'
  const store = keyStore({ master, token, newKeys })
  const keys = newKeyRing(config, repository, store)
  const checkpointKeys = keyRing({
    ...{ repository, store, schedule: CHECKPOINT_SCHEDULE, nowMs: Date.now },
    kinds: ['checkpoint'],
  })
  const checkpoints = newCheckpoints(config, repository, checkpointKeys, log)
  const statuses = statusList({ url: config.url, repository, keys, nowMs: Date.now })
  const authority = akAuthority({ url: config.url, repository, store, nowMs: Date.now })
  const documents = publicDocuments(
    config.url,
    config.spiffe.trust_domain,
    keys,
    statuses,
    authority,
  )
  const publish = async (): Promise<void> => {
    settings.usableFromMs = await usableFromMs(repository)
    const faults = await tokenFaultsOf([
      // Before the others, which publish what it has made.
      checkpointKeys.refresh,
      keys.refresh,
      statuses.refresh,
      authority.refresh,
    ])
    writeDocuments(config, documents)
    if (config.metrics.port !== undefined) metrics.counted(await repository.states())
    if (faults.length > 0) throw faults[0]
    metrics.refreshed(Date.now())
  }
  /** Without it everything else goes on: whoever reads the log or the metric is told. */
  const signEvents = async (when: 'due' | 'now'): Promise<void> => {
    try {
      await checkpoints.sign(when)
      metrics.eventsHeld(Date.now())
    } catch (error) {
      log.error({ cause: causeChain(error) }, 'events not signed')
    }
  }
  const app = newServer(settings, { tls, master, repository, keys, authority, documents, log })
  metrics.watch(app)
  boundConnections(app.server, {
    max: () => settings.config.limits.connections_per_address,
    exempt: new Set(config.listen.trusted_proxies),
    onRefused: metrics.refusedConnection,
  })
  // There is another try in a minute: keys are made long before they sign, and revoked is what was refused tokens at once.
  const faulty = (error: unknown) => log.error({ cause: causeChain(error) }, 'keys not refreshed')
  let endMetrics: Listener['close'] | undefined
  let endApi: Listener['close'] | undefined
  try {
    // Without its token the registrar says which keys there are, and refuses what needs a signature: one that ended and was
    // started again and again would try a wrong PIN until the token is locked.
    await publish().catch((error) => (isTokenFault(error) ? faulty(error) : Promise.reject(error)))
    await signEvents('due')
    endMetrics = await serveMetrics(config.metrics, metrics)
    const { request_timeout_ms: requestTimeoutMs } = config.limits
    endApi = await serveReadApi(config.api, { repository, requestTimeoutMs, log })
    await listenOnTcp(app, config.listen)
  } catch (error) {
    await Promise.all([endMetrics?.(), endApi?.()])
    await Promise.all([token?.close(), repository.close()])
    throw error
  }
  const refreshing = setInterval(() => {
    tls?.reread(app.server)
    void publish()
      .catch(faulty)
      .then(() => signEvents('due'))
  }, REFRESH_EVERY_MS)
  return {
    port: portOf(app.server.address()),
    reload: (read) => {
      tls?.reread(app.server)
      takeNewPin(token, log)
      const reloaded = reloadedConfig(settings.config, read())
      settings.rules = admissionRules(reloaded.config)
      settings.config = reloaded.config
      log.level = reloaded.config.log.level
      return reloaded.kept
    },
    close: async () => {
      clearInterval(refreshing)
      await Promise.all([endMetrics?.(), endApi?.(), closeGracefully(app)])
      await signEvents('now')
      await Promise.all([token?.close(), repository.close()])
    },
  }
}

function newKeyRing(
  { keys, spiffe }: RegistrarConfig,
  repository: Repository,
  store: KeyStore,
): KeyRing {
  const kinds: KeyKind[] = [
    ...SIGNING_ALGORITHMS,
    ...(spiffe.trust_domain === undefined ? [] : (['wit'] as const)),
  ]
  const rotateMs = keys.rotate_days * DAY_MS
  const overlapMs = keys.overlap_hours * HOUR_MS
  return keyRing({ repository, store, schedule: { rotateMs, overlapMs }, kinds, nowMs: Date.now })
}

/** Does each, whatever becomes of the token meanwhile: what others have made is published all the same. @returns its faults */
async function tokenFaultsOf(steps: readonly (() => Promise<void>)[]): Promise<readonly unknown[]> {
  const faults: unknown[] = []
  for (const step of steps) {
    try {
      await step()
    } catch (error) {
      if (!isTokenFault(error)) throw error
      faults.push(error)
    }
  }
  return faults
}

/** Its faults are logged once each: what is refused meanwhile says no more than its code. */
async function tokenOf(
  { keys: { pkcs11 } }: RegistrarConfig,
  log: Log,
  metrics: RegistrarMetrics,
): Promise<KeyToken | undefined> {
  if (pkcs11 === undefined) return undefined
  metrics.keyToken(true)
  return openKeyToken(pkcs11, (lost) => {
    metrics.keyToken(lost === undefined)
    if (lost === undefined) log.info('PKCS #11 token is there again')
    else log.error({ cause: causeChain(lost) }, 'PKCS #11 token lost')
  })
}

/** A file that cannot be read keeps nothing else from being taken over. */
function takeNewPin(token: KeyToken | undefined, log: Log): void {
  try {
    token?.takeNewPin()
  } catch (error) {
    log.error({ cause: causeChain(error) }, 'PIN of the PKCS #11 token not read')
  }
}

function newCheckpoints(
  { url, events }: RegistrarConfig,
  repository: Repository,
  keys: KeyRing,
  log: Log,
): EventCheckpoints {
  // Whatever log.level is: this copy is for when the database is another's.
  const told = log.child({ audit: true }, { level: 'notice' })
  return eventCheckpoints({
    ...{ url, repository, keys, nowMs: Date.now },
    everyMs: events.checkpoint_seconds * 1000,
    onSigned: ({ seq, jws: checkpoint }) => told.notice({ seq, checkpoint }, 'events signed'),
  })
}

/** What holds now: a reload replaces configuration and rules. */
interface Settings {
  config: RegistrarConfig
  rules: AdmissionRules
  /** Replicas and restores are seen at the next refresh. */
  usableFromMs: number
}

interface ServerParts {
  readonly tls: RegistrarTls | undefined
  readonly master: MasterKey
  readonly repository: Repository
  readonly keys: KeyRing
  readonly authority: AkAuthority
  readonly documents: readonly PublicDocument[]
  readonly log: Log
}

function newServer(settings: Settings, parts: ServerParts): FastifyInstance {
  const { url, listen, limits, spiffe } = settings.config
  const { tls, master, repository, keys, authority, documents, log } = parts
  const nowMs = Date.now
  const proofNonces = dpopNonces(master)
  const nonces = enrolmentNonces(master)
  const exchangeDeps = {
    ...{ url, repository, nowMs },
    tokenUrl: `${url}${TOKEN_PATH}`,
    tokens: tokenIssuer({ url, trustDomain: spiffe.trust_domain, keys, nowMs }),
    nonces: proofNonces,
    signing: openCounts<string>(),
    usableFromMs: () => settings.usableFromMs,
    get audiences() {
      return settings.config.audience
    },
  }
  return registrarServer({
    ...{ url, listen, tls, limits, log, documents, nonces: proofNonces },
    exchange: (request) => exchangeToken(exchangeDeps, request),
    takeOf: currentRate(settings),
    enrolment: enrolment({
      ...{ url, repository, nonces, master, authority, nowMs },
      get rules() {
        return settings.rules
      },
      get lifetimeMs() {
        return settings.config.admission.lifetime_seconds * 1000
      },
      get bounds() {
        const { pending, pending_per_address: perSource, held } = settings.config.limits
        return { pending, perSource, held }
      },
    }),
  })
}

/** The buckets of the rate that holds now. */
function currentRate(settings: Settings): TakeOfAddress {
  const clockMs = () => performance.now()
  let limits: RegistrarConfig['limits'] | undefined
  let takeOf: TakeOfAddress = () => 0
  return (address) => {
    if (settings.config.limits !== limits) {
      limits = settings.config.limits
      const { requests_per_second: perSecond, request_burst: burst } = limits
      takeOf = ratePerAddress({ perSecond, burst }, clockMs)
    }
    return takeOf(address)
  }
}

/** What verifiers read, at the paths of the registrar's own on its host. */
function writeDocuments({ publish }: RegistrarConfig, documents: readonly PublicDocument[]): void {
  if (publish.directory === undefined) return
  const files = documents
    .filter(({ isFile }) => isFile)
    .flatMap(({ path, content }) => {
      const made = contentUnlessLost(content)
      return made === undefined ? [] : [[path, made] as const]
    })
  writeStaticFiles(publish.directory, Object.fromEntries(files))
}

/** @returns undefined if it has to be signed in a token, and was not yet: a file from before stays */
function contentUnlessLost(content: PublicDocument['content']): object | string | undefined {
  try {
    return content()
  } catch (error) {
    if (isTokenFault(error)) return undefined
    throw error
  }
}

function portOf(address: AddressInfo | string | null): number {
  return address === null || typeof address === 'string' ? 0 : address.port
}
