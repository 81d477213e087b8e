import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { bootTimeMs } from 'tpm2-js/linux'
import { advance, type BootParts, type BootState, type ReadyState } from './boot/boot.ts'
import { type Keeper, keepKeys } from './boot/keeper.ts'
import { loadRevocations } from './boot/revocations.ts'
import { loadSalt } from './boot/salt.ts'
import { type InstanceTpm, instanceTpm } from './boot/tpm.ts'
import type { Config } from './config.ts'
import { causeChain, ERRORS, type ErrorCode, MetabindError } from './errors.ts'
import type { Log } from './log.ts'
import { admin, type RunningAgent } from './relay/admin.ts'
import { auditTo } from './relay/audit.ts'
import { DIALECTS, type Dialect } from './relay/dialect.ts'
import type { HttpBounds } from './relay/http-server.ts'
import { listenOn } from './relay/listen.ts'
import { metadataFrom } from './relay/metadata.ts'
import { relay } from './relay/relay.ts'
import { openSource, type Source } from './relay/source.ts'
import { tokenAuthority } from './relay/token.ts'
import { agentStatus } from './status.ts'

/** Whom the agent tells how it is: systemd, in daemon.ts. */
export interface Supervisor {
  ready(): void
  status(text: string): void
}

/** An agent from its start to its end. */
export interface Agent {
  /** Resolves when the agent serves; rejects where only a new process can help. */
  readonly started: Promise<void>
  /** Rejects where only a new process can help, once the agent serves. Never resolves. */
  readonly failed: Promise<never>
  /** Takes over what may change while running: tokens' settings and the log level. */
  reload(config: Config): void
  /** Answers what is under way, then closes everything and wipes the keys. */
  drain(): Promise<void>
}

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id'
const RETRY_MS_MIN = 500
const RETRY_MS_MAX = 15_000
// The same at the next try: a person has to act, and the process says so by ending.
const FATAL: readonly ErrorCode[] = [
  'DIRECTORY_UNSAFE',
  'DIRECTORY_FAULT',
  'LISTEN_FAILED',
  'TPM_STUCK',
]

/** Builds every part once and runs boot. The admin socket answers from the beginning on. */
export function startAgent(first: Config, log: Log, supervisor: Supervisor): Agent {
  let config = first
  let state: BootState = { at: 'opening-tpm' }
  let waitsFor: MetabindError | undefined
  let running: RunningAgent | undefined
  let keeper: Keeper | undefined
  const ending = new AbortController()
  const failed = Promise.withResolvers<never>()
  const servers: FastifyInstance[] = []

  const dialect = DIALECTS[config.source.dialect]
  const endpoint = config.source.endpoint ?? dialect.endpoint
  const source = openSource(dialect, endpoint, sourceBounds(config), bootTimeMs)
  const tpm = instanceTpm(config.tpm.tcti, config.tpm.command_timeout_ms)
  const audit = auditTo(log)
  const logFault = (error: MetabindError) => log.error({ cause: causeChain(error) }, error.code)

  const serveAdmin = (): Promise<void> => {
    const app = admin({
      bounds: httpBounds(config),
      status: () => agentStatus(config, endpoint, state, keeper?.stoppedBecause() ?? waitsFor),
      running: () => running,
      audit,
      logFault,
    })
    servers.push(app)
    return listenOn(app, config.listen.admin_socket, config.listen.admin_mode)
  }

  const boot = async (): Promise<ReadyState> => {
    const parts = bootParts(config, dialect, tpm, source)
    for (let failures = 0; state.at !== 'ready'; ) {
      supervisor.status(state.at)
      log.info({ state: state.at }, 'boot')
      try {
        state = await advance(state, parts)
        waitsFor = undefined
        failures = 0
      } catch (error) {
        waitsFor = passingProblem(error)
        logWait(log, state.at, waitsFor, failures)
        supervisor.status(`${state.at}: ${waitsFor.message}`)
        await sleep(backoffMs(failures), undefined, { signal: ending.signal })
        failures += 1
      }
    }
    return state
  }

  const serve = (ready: ReadyState): Promise<void> => {
    const keys = ready.tokenKeys
    const kept = keepKeys({
      keys,
      recheckMs: config.tpm.recheck_seconds * 1000,
      bootTimeMs,
      onStopped: (why) => {
        audit({ event: 'agent.stopped', code: why.code, detail: causeChain(why) })
        supervisor.status(`stopped: ${why.message}`)
        if (FATAL.includes(why.code)) failed.reject(why)
      },
      onResumed: () => {
        audit({ event: 'agent.resumed' })
        supervisor.status('ready')
      },
    })
    const tokens = tokenAuthority(keys, bootTimeMs, () => config.token.bind)
    const app = relay({
      dialect,
      tokens,
      metadata: metadataFrom(source),
      audit,
      bounds: httpBounds(config),
      ttlSecondsMax: () => config.token.max_ttl_seconds,
      requireRunning: () => requireRunning(kept),
      logFault,
    })
    keeper = kept
    running = { ...keys, tokens, bootTimeMs, requireRunning: () => requireRunning(kept) }
    servers.push(app)
    return listenOn(app, config.listen.metadata_socket, config.listen.metadata_mode)
  }

  const start = async (): Promise<void> => {
    await serveAdmin()
    const ready = await boot()
    await serve(ready)
    const { iid, identity } = ready.tokenKeys
    log.info({ iid, instanceId: identity.instanceId }, 'ready')
    supervisor.ready()
    supervisor.status(`ready: ${identity.instanceId}`)
  }

  return {
    started: start(),
    failed: failed.promise,
    reload: (next) => {
      config = { ...config, token: next.token, log: next.log }
      log.level = next.log.level
    },
    drain: async () => {
      ending.abort()
      keeper?.end()
      await Promise.allSettled(servers.map((server) => server.close()))
      if (state.at === 'ready') state.tokenKeys.clear()
      await Promise.allSettled([source.close(), tpm.close()])
    },
  }
}

function bootParts(config: Config, dialect: Dialect, tpm: InstanceTpm, source: Source): BootParts {
  const { runtime } = config.directories
  return {
    tpm,
    dialect: dialect.name,
    readInstanceId: async () => (await source.read(dialect.instanceIdPath)).body.toString('utf8'),
    bootId: readFileSync(BOOT_ID_FILE, 'utf8').trim(),
    salt: loadSalt(runtime),
    revocations: loadRevocations(runtime, bootTimeMs),
    bootTimeMs,
  }
}

/** What a step failed on, where waiting may help; thrown on where it cannot. */
function passingProblem(error: unknown): MetabindError {
  if (!(error instanceof MetabindError) || FATAL.includes(error.code)) throw error
  return error
}

function backoffMs(failures: number): number {
  return Math.min(RETRY_MS_MIN * 2 ** failures, RETRY_MS_MAX)
}

/** The first failure and every power of two after it: a TPM missing for a day fills no disk. */
function logWait(log: Log, at: string, problem: MetabindError, failures: number): void {
  const level = Number.isInteger(Math.log2(failures + 1)) ? 'warn' : 'debug'
  const { remedy } = ERRORS[problem.code]
  log[level]({ state: at, code: problem.code, cause: causeChain(problem), remedy }, 'boot waits')
}

function requireRunning(keeper: Keeper): void {
  const why = keeper.stoppedBecause()
  if (why !== undefined) throw new MetabindError('AGENT_STOPPED', why.code)
}

function sourceBounds(config: Config): Parameters<typeof openSource>[2] {
  return {
    connectTimeoutMs: config.source.connect_timeout_ms,
    timeoutMs: config.source.timeout_ms,
    answerBytesMax: config.source.answer_bytes_max,
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
