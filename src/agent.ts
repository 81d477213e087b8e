import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { bootTimeMs } from 'tpm2-js/linux'
import { openAuditTrail } from './audit-trail.ts'
import { type AttestationParts, attestationOf } from './boot/attestation.ts'
import { advance, type BootParts, type BootState, type ReadyState } from './boot/boot.ts'
import { continuityOf } from './boot/continuity.ts'
import { type InstanceChange, isRemarkable } from './boot/instance-record.ts'
import { type Keeper, keepKeys } from './boot/keeper.ts'
import { keptIn } from './boot/kept.ts'
import { loadRevocations } from './boot/revocations.ts'
import { loadSalt } from './boot/salt.ts'
import { skSigner } from './boot/sk-signer.ts'
import type { BoundKeys } from './boot/token-keys.ts'
import { type InstanceTpm, instanceTpm } from './boot/tpm.ts'
import type { Config } from './config.ts'
import { causeChain, ERRORS, type ErrorCode, MetabindError } from './errors.ts'
import { decodeChallenge, encodeAnswer } from './format/activation.ts'
import { encodeEvidence } from './format/evidence.ts'
import type { InheritedSockets } from './inherited-sockets.ts'
import type { Log } from './log.ts'
import { admin, type RunningAgent } from './relay/admin.ts'
import type { Audit } from './relay/audit.ts'
import type { Counters } from './relay/counters.ts'
import type { Dialect } from './relay/dialect.ts'
import { DIALECTS } from './relay/dialects.ts'
import { closeGently } from './relay/gentle-close.ts'
import type { HttpBounds } from './relay/http-server.ts'
import { identityIssuer } from './relay/identity.ts'
import { decodeItems, type ItemKeeper, keepItems } from './relay/kept-items.ts'
import { LIFETIME_TABLES, lifetimesBy } from './relay/lifetimes.ts'
import { type LimitBounds, limits } from './relay/limits.ts'
import { listenOn, listenOnInherited } from './relay/listen.ts'
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
import { readAkCertificates, readTrust } from './trust-files.ts'
import type { Trust } from './verify/trust.ts'
import { VERSION } from './version.ts'

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

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id'
const RETRY_MS_MIN = 500
const RETRY_MS_MAX = 15_000
// How often credentials are looked at. Timers stand still in a suspend, so the clocks are asked.
const METADATA_TURN_MS = 15_000
const REFRESH_LOG_MS = 60_000
// The same at the next try: a person has to act, and the process says so by ending.
const FATAL: readonly ErrorCode[] = [
  'DIRECTORY_UNSAFE',
  'DIRECTORY_FAULT',
  'LISTEN_FAILED',
  'TPM_STUCK',
]

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
      status: () => agentStatus(config, endpoint, state, problem(), inForce(), trail.head()),
      policy: () => inForce().policy,
      running: () => running,
      observed: () => loopback?.observed() ?? [],
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
    const uris = credentialsUris(config, salt, keys.iid, tokens)
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
    loopback = await openLoopback({ config, relay: relayParts, endpoint, onTokenless }, uris)
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

function bootParts(
  config: Config,
  dialect: Dialect,
  tpm: InstanceTpm,
  metadata: Metadata,
  trust: () => Trust,
  log: Log,
): BootParts {
  const { runtime, state } = config.directories
  const attestation = attestationParts(config, dialect, tpm, metadata, trust)
  return {
    tpm,
    dialect: dialect.name,
    attestationOf: (keys, identity) => attestationOf(attestation, keys, identity),
    continuityOf: (identity) => continuityOf(tpm, identity, state),
    readInstanceId: () => readInstanceId(metadata, dialect),
    openKept: (seal) =>
      keptIn(runtime, seal, (problem) =>
        log.warn(
          { code: problem.code, cause: causeChain(problem) },
          'kept for a restart: unusable',
        ),
      ),
    onOtherInstance: (before, now) =>
      log.warn({ before, now }, 'the source names another instance'),
    bootId: readFileSync(BOOT_ID_FILE, 'utf8').trim(),
    salt: loadSalt(runtime),
    revocations: loadRevocations(runtime, bootTimeMs),
    bootTimeMs,
  }
}

function attestationParts(
  { tpm: settings, source }: Config,
  dialect: Dialect,
  tpm: InstanceTpm,
  metadata: Metadata,
  trust: () => Trust,
): AttestationParts {
  const akCertificates = readAkCertificates(settings)
  const device = /^device:\/dev\/tpm(?:rm)?([0-9]+)$/.exec(settings.tcti)?.[1]
  return {
    tpm,
    dialect: dialect.name,
    pcrs: { hash: settings.pcr_bank, pcrs: settings.pcrs },
    akCertificates,
    // Another TPM's log would only refute this one's PCRs.
    eventLogFile: device && `/sys/kernel/security/tpm${device}/binary_bios_measurements`,
    readIdentityDocument: (audience) => readIdentityDocument(metadata, dialect, audience),
    policy: () => ({
      trust: trust(),
      ekCertificate: settings.ek_certificate,
      ekInstance: settings.ek_instance,
      identityDocument: source.identity_document,
    }),
  }
}

/** The cloud's PKCS7 for an audience. A silent source makes none; `require` then refuses. */
async function readIdentityDocument(
  metadata: Metadata,
  dialect: Dialect,
  audience: string,
): Promise<Buffer | undefined> {
  const [path] = dialect.audiencePaths
  if (path === undefined) return undefined
  try {
    const { item } = await metadata.read(path, `audience=${audience}`, { fresh: true })
    return item && decodePkcs7(item.body.toString('latin1'))
  } catch (error) {
    if (error instanceof MetabindError && error.code === 'SOURCE_DOWN') return undefined
    throw error
  }
}

/** Base64 without armour, blanks allowed. @throws MetabindError SOURCE_NONSENSE */
function decodePkcs7(text: string): Buffer {
  const plain = text.replaceAll(/\s/g, '')
  if (/^[A-Za-z0-9+/]+={0,2}$/.test(plain)) return Buffer.from(plain, 'base64')
  throw new MetabindError('SOURCE_NONSENSE', 'its identity document is not base64')
}

/**
 * Token keys whose refresh also looks whether this is still the same machine: a cleared TPM,
 * counters that went back or a restored snapshot lead to a new self-test, and a failed one stops
 * the agent as a failed refresh does. The test is owed until it passes: the next look finds no
 * change any more.
 */
function watched({ tokenKeys, continuity, attestation }: ReadyState, audit: Audit): BoundKeys {
  let owesSelfTest = false
  return {
    ...tokenKeys,
    refresh: async () => {
      await tokenKeys.refresh()
      const change = await continuity.look()
      if (isRemarkable(change)) {
        owesSelfTest = true
        audit({ event: 'instance.changed', detail: inWords(change) })
      }
      if (!owesSelfTest) return
      await attestation.selfTest()
      owesSelfTest = false
      audit({ event: 'self-test.passed' })
    },
  }
}

/** Asks the source itself; through the cache, so that the first reader need not ask again. */
async function readInstanceId(metadata: Metadata, dialect: Dialect): Promise<string> {
  const { item } = await metadata.read(dialect.instanceIdPath, undefined, { fresh: true })
  if (item === undefined) throw new MetabindError('METADATA_ABSENT', dialect.instanceIdPath)
  return item.body.toString('utf8')
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

function inWords(change: InstanceChange): string {
  if (change.kind === 'tpm-changed') return `another TPM; the EK was ${change.ekName}`
  if (change.kind === 'instance-changed') return `another instance; it was ${change.instanceId}`
  return change.kind
}

/** What a step failed on, where waiting may help; thrown on where it cannot. */
function passingProblem(error: unknown): MetabindError {
  if (!(error instanceof MetabindError) || FATAL.includes(error.code)) throw error
  return error
}

function backoffMs(failures: number): number {
  return Math.min(RETRY_MS_MIN * 2 ** failures, RETRY_MS_MAX)
}

/** A step of boot that fails, and how often it has failed before. */
interface Setback {
  readonly at: BootState['at']
  readonly problem: MetabindError
  readonly failuresBefore: number
}

function nextSetback(
  last: Setback | undefined,
  at: BootState['at'],
  problem: MetabindError,
): Setback {
  return { at, problem, failuresBefore: last?.at === at ? last.failuresBefore + 1 : 0 }
}

/**
 * The same step is taken again, but for the self-test: what it found wrong is mended in the TPM, its
 * NV memory or the source, so nothing that was taken from them before is kept.
 */
function afterFailure(state: Exclude<BootState, ReadyState>): BootState {
  if (state.at !== 'self-testing') return state
  state.kept.clear()
  return { at: 'opening-tpm' }
}

/** The first failure and every power of two after it: a TPM missing for a day fills no disk. */
function logWait(log: Log, { at, problem, failuresBefore }: Setback): void {
  const level = Number.isInteger(Math.log2(failuresBefore + 1)) ? 'warn' : 'debug'
  const { remedy } = ERRORS[problem.code]
  log[level]({ state: at, code: problem.code, cause: causeChain(problem), remedy }, 'boot waits')
}

function requireRunning(why: MetabindError | undefined): void {
  if (why !== undefined) throw new MetabindError('AGENT_STOPPED', why.code)
}

function sourceBounds(config: Config): Parameters<typeof openSource>[2] {
  return {
    connectTimeoutMs: config.source.connect_timeout_ms,
    timeoutMs: config.source.timeout_ms,
    answerBytesMax: config.source.answer_bytes_max,
  }
}

function limitBounds({ limits }: Config): LimitBounds {
  return {
    mints: { perSecond: limits.mints_per_second, burst: limits.mint_burst },
    misses: { perSecond: limits.misses_per_second, burst: limits.miss_burst },
    connectionsPerUid: limits.connections_per_uid,
  }
}

function httpBounds(config: Config): HttpBounds {
  return {
    connections: config.limits.connections,
    headerBytesMax: config.limits.header_bytes_max,
    bodyBytesMax: config.limits.body_bytes_max,
    requestTimeoutMs: config.limits.request_timeout_ms,
    idleTimeoutMs: config.limits.idle_timeout_ms,
  }
}
