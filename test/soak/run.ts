import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, copyFileSync, existsSync, renameSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ADMIN_CALLS } from '../../src/admin-api.ts'
import { callAdmin, readAdmin } from '../../src/admin-client.ts'
import { asUser } from '../harness/networks.ts'
import { layNextVersion, swap, TTL_SECONDS_MAX, versionAfter } from './library.ts'
import { sampleProcess } from './process.ts'
import { OTHER_UIDS, openRig, type Rig, ROLE_PATH, ROLE_UIDS, rulesIn } from './rig.ts'
import { turns } from './turns.ts'
import type { UserOrder, UserReport } from './user.ts'

/** The load of ./dev soak, and all that happens meanwhile. What is seen goes to samples.jsonl, a line each. */

const USER = fileURLToPath(new URL('./user.ts', import.meta.url))
const SAMPLE_MS = 10_000
const PASSING_USER_MS = 1000
const PASSING_UID_FIRST = 100_000
// All of them have come before an agent is judged, so that what is kept for each is there.
const PASSING_UIDS = 300
const RELOAD_MS_MAX = 45_000
const ROTATE_MS_MAX = 240_000
/** Between the agents of one change: three restarts, the last of them an upgrade. */
const CHANGE_PAUSE_MS = 15_000
const TTL_HEADER = 'X-aliyun-ecs-metadata-token-ttl-seconds'
const TOKEN_HEADER = 'X-aliyun-ecs-metadata-token'

export interface SoakOptions {
  readonly directory: string
  readonly samples: string
  readonly seconds: number
  /** Agents that live long, one after the other. */
  readonly segments: number
  /** Between two requests of a user. */
  readonly pauseMs: number
  /** Whether V8 is made to collect before each look at its heap. */
  readonly isCollected: boolean
}

interface Seen {
  latencies: Record<string, number[]>
  outcomes: Record<string, Record<string, number>>
  wrong: string[]
}

export async function soak(options: SoakOptions): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const rig = stack.use(await openRig(options.directory, options.isCollected))
  const write = (line: object) =>
    appendFileSync(options.samples, `${JSON.stringify({ at: Date.now(), ...line })}\n`)
  await rig.start()
  write({
    kind: 'event',
    what: 'start',
    seconds: options.seconds,
    isCollected: options.isCollected,
  })
  // As under systemd, nobody signals an agent that is not ready yet.
  const inTurn = turns()
  const users = startUsers(rig, options.pauseMs, (line) => write(line))
  stack.defer(() => users.stop())
  const ending = new AbortController()
  const until = performance.now() + options.seconds * 1000
  const every = (ms: number, act: (count: number) => Promise<void>) =>
    repeat(ms, ending.signal, act, (error) => write({ kind: 'error', error: String(error) }))
  const running = [
    every(SAMPLE_MS, async () => write(await sample(rig, users.take()))),
    every(PASSING_USER_MS, (count) => users.passing(PASSING_UID_FIRST + (count % PASSING_UIDS))),
    every(Math.min(RELOAD_MS_MAX, options.seconds * 100), (count) =>
      inTurn(() => reload(rig, count, write)),
    ),
    every(Math.min(ROTATE_MS_MAX, options.seconds * 200), () =>
      inTurn(async () => rotate(rig, write)),
    ),
    every(SAMPLE_MS, () => inTurn(() => revive(rig, write))),
  ]
  for (let segment = 1; segment < options.segments; segment += 1) {
    const nextMs =
      until - ((options.segments - segment) * options.seconds * 1000) / options.segments
    await sleep(Math.max(0, nextMs - performance.now()))
    await change(
      { rig, users, write, restart: (signal) => inTurn(() => restart(rig, signal, write)) },
      segment,
    )
  }
  await sleep(Math.max(0, until - performance.now()))
  ending.abort()
  await Promise.all(running)
  write(await sample(rig, users.take()))
  const code = await rig.agent().stop()
  write({ kind: 'event', what: 'end', code, audit: auditFiles(rig) })
}

async function repeat(
  ms: number,
  signal: AbortSignal,
  act: (count: number) => Promise<void>,
  failed: (error: unknown) => void,
): Promise<void> {
  for (let count = 1; ; count += 1) {
    await sleep(ms, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return
    await act(count).catch(failed)
  }
}

type Write = (line: object) => void

interface Change {
  readonly rig: Rig
  readonly users: Users
  readonly write: Write
  restart(signal: NodeJS.Signals): Promise<void>
}

/** Ends and begins agents: by SIGTERM, by SIGKILL, all tokens revoked, and by an upgrade. */
async function change({ rig, users, write, restart }: Change, segment: number): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    await restart(signal)
    await sleep(CHANGE_PAUSE_MS)
  }
  await users.hold()
  await callAdmin(rig.sockets, ADMIN_CALLS.revoke, { all: true })
  write({ kind: 'event', what: 'all revoked' })
  users.allRevoked()
  users.go()
  await sleep(CHANGE_PAUSE_MS)
  const next = join(rig.directory, 'lib.new')
  await layNextVersion(rig.library, next, versionAfter(segment))
  await swap(rig.library, next)
  // The old one runs on, its files gone, until it is told.
  await sleep(CHANGE_PAUSE_MS)
  await restart('SIGTERM')
  const { version } = await readAdmin(rig.sockets, ADMIN_CALLS.status)
  write({ kind: 'event', what: 'upgrade', version, expected: versionAfter(segment) })
}

async function restart(rig: Rig, signal: NodeJS.Signals, write: Write): Promise<void> {
  write({ kind: 'event', what: signal, pid: rig.agent().child.pid })
  const code = await rig.agent().stop(signal)
  const startedAtMs = performance.now()
  await rig.start()
  write({ kind: 'event', what: 'ready', code, ms: performance.now() - startedAtMs })
}

/** As Restart=always does; that an agent has ended by itself is told. */
async function revive(rig: Rig, write: Write): Promise<void> {
  const { exitCode, signalCode } = rig.agent().child
  if (exitCode === null && signalCode === null) return
  write({ kind: 'error', error: `the agent ended by itself: ${exitCode ?? signalCode}` })
  await rig.start()
}

async function reload(rig: Rig, round: number, write: Write): Promise<void> {
  rig.writePolicy(round)
  rig.agent().child.kill('SIGHUP')
  const expected = rulesIn(round)
  for (let tries = 0; tries < 50; tries += 1) {
    await sleep(100)
    const { policy } = await readAdmin(rig.sockets, ADMIN_CALLS.status)
    if (policy.rules === expected) return write({ kind: 'event', what: 'reload', rules: expected })
  }
  write({ kind: 'error', error: `reload ${round} was not taken` })
}

function rotate(rig: Rig, write: Write): void {
  const { auditFile } = rig
  const next = auditFiles(rig).length
  renameSync(auditFile, `${auditFile}.${next}`)
  rig.agent().child.kill('SIGUSR1')
  write({ kind: 'event', what: 'rotate', next })
}

/** Oldest first. */
function auditFiles({ auditFile }: Rig): string[] {
  const files: string[] = []
  for (let at = 1; existsSync(`${auditFile}.${at}`); at += 1) files.push(`${auditFile}.${at}`)
  return [...files, auditFile]
}

async function sample(rig: Rig, seen: Seen): Promise<object> {
  const pid = rig.agent().child.pid ?? 0
  const metrics = await rig.metrics().catch(() => '')
  const all = Object.values(seen.latencies).flat()
  return {
    kind: 'sample',
    pid,
    load: loadavg()[0],
    process: sampleProcess(pid),
    heap: safely(() => rig.heap()),
    cgroupBytes: await rig.cgroup?.bytes().catch(() => undefined),
    tpm: await rig.tpm.handles(),
    tpmCommands: rig.tpm.commands(),
    requests: all.length,
    latency: {
      all: quantiles(all),
      ...Object.fromEntries(
        Object.entries(seen.latencies).map(([name, values]) => [name, quantiles(values)]),
      ),
    },
    outcomes: seen.outcomes,
    wrong: seen.wrong,
    metrics: numbersOf(metrics),
  }
}

function safely<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}

function quantiles(values: readonly number[]) {
  const sorted = [...values].sort((one, other) => one - other)
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: sorted.at(-1) }
}

/** What is not zero, but for the buckets of histograms. */
function numbersOf(text: string): Record<string, number> {
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#') && !line.includes('_bucket'))
  return Object.fromEntries(
    lines.flatMap((line) => {
      const [, name, value] = /^(metabind_\S+?(?:\{[^}]*\})?) (\S+)$/.exec(line) ?? []
      return name === undefined || Number(value) === 0 ? [] : [[name, Number(value)]]
    }),
  )
}

interface Users {
  /** What was seen since it was last asked. */
  take(): Seen
  /** A user who was never here before makes a token, reads, and goes. */
  passing(uid: number): Promise<void>
  hold(): Promise<void>
  allRevoked(): void
  go(): void
  stop(): Promise<void>
}

function startUsers(rig: Rig, pauseMs: number, write: Write): Users {
  const program = join(rig.directory, 'user.ts')
  copyFileSync(USER, program)
  // Not the agent's: pages of one file would be shared with it, and counted to each in part.
  const node = join(rig.directory, 'node')
  copyFileSync(process.execPath, node)
  let seen: Seen = { latencies: {}, outcomes: {}, wrong: [] }
  const told = (report: UserReport, uid: number) => {
    for (const [name, values] of Object.entries(report.latencies)) {
      seen.latencies[name] = [...(seen.latencies[name] ?? []), ...values]
    }
    for (const [name, outcomes] of Object.entries(report.outcomes)) {
      for (const [what, count] of Object.entries(outcomes)) countOutcome(seen, name, what, count)
    }
    seen.wrong.push(...report.wrong.map((sentence) => `uid ${uid}: ${sentence}`))
  }
  const revoke = async (child: ChildProcess, token: string) => {
    try {
      await callAdmin(rig.sockets, ADMIN_CALLS.revoke, { token })
      child.send({ kind: 'revoked', token })
    } catch (error) {
      write({ kind: 'error', error: `revoke: ${error}` })
      child.send({ kind: 'revoked', token: '' })
    }
  }
  const children = [...ROLE_UIDS, ...OTHER_UIDS].map((uid) => {
    const order: UserOrder = {
      ...{ socket: rig.sockets.metadata, instanceId: rig.cloud.instanceId, rolePath: ROLE_PATH },
      ...{ mayReadRole: ROLE_UIDS.includes(uid), ttlSecondsMax: TTL_SECONDS_MAX, pauseMs },
    }
    const child = spawn(node, [program, JSON.stringify(order)], {
      ...{ uid, gid: uid, cwd: '/' },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    child.on(
      'message',
      (message: UserReport | { kind: 'revoke'; token: string } | { kind: 'held' }) => {
        if (message.kind === 'report') told(message, uid)
        if (message.kind === 'revoke') void revoke(child, message.token)
      },
    )
    child.on('exit', (code) => write({ kind: 'event', what: 'user ended', uid, code }))
    return child
  })
  const tell = (message: object) => children.forEach((child) => void child.send(message))
  return {
    take: () => {
      const taken = seen
      seen = { latencies: {}, outcomes: {}, wrong: [] }
      return taken
    },
    passing: async (uid) => {
      const outcome = await passingUser(uid, rig)
      countOutcome(seen, 'passing', outcome, 1)
    },
    hold: async () => {
      const all = children.map((child) => heldBy(child))
      tell({ kind: 'hold' })
      await Promise.all(all)
    },
    allRevoked: () => tell({ kind: 'all revoked' }),
    go: () => tell({ kind: 'go' }),
    stop: async () => {
      for (const child of children) child.kill('SIGKILL')
    },
  }
}

function countOutcome(seen: Seen, name: string, what: string, count: number): void {
  const outcomes = seen.outcomes[name] ?? {}
  outcomes[what] = (outcomes[what] ?? 0) + count
  seen.outcomes[name] = outcomes
}

function heldBy(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    const listen = (message: { kind: string }) => {
      if (message.kind !== 'held') return
      child.off('message', listen)
      resolve()
    }
    child.on('message', listen)
  })
}

/** @returns the status of its read */
async function passingUser(uid: number, rig: Rig): Promise<string> {
  const script = `S=$1; shift
T=$(curl -s -m 60 --unix-socket "$S" -X PUT -H '${TTL_HEADER}: 300' http://m/latest/api/token)
curl -s -m 60 -o /dev/null -w '%{http_code}' --unix-socket "$S" -H "${TOKEN_HEADER}: $T" http://m/latest/meta-data/instance-id`
  const [file = '', ...args] = [...asUser(uid), 'sh', '-c', script, 'sh', rig.sockets.metadata]
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'], cwd: '/' })
  let printed = ''
  child.stdout.on('data', (chunk) => {
    printed += chunk
  })
  await once(child, 'close')
  return printed
}
