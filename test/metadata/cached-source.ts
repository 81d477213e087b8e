import { aliyun } from '../../src/dialect/aliyun.ts'
import type { Clocks } from '../../src/metadata/freshness.ts'
import { lifetimesBy } from '../../src/metadata/lifetimes.ts'
import { type Metadata, metadataFrom } from '../../src/metadata/metadata.ts'
import { openSource } from '../../src/metadata/source.ts'
import {
  type Simulator,
  type SimulatorOptions,
  startSimulator,
} from '../../src/simulate/simulator.ts'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE

/** Clocks that stand until they are moved. The cloud's clock is moved apart from the host's. */
interface TestClocks extends Clocks {
  bootMs: number
  wallMs: number
  cloudMs: number
  /** What the lot gives, from 0 to 1. */
  drawn: number
  /** Time goes by, for all alike. */
  pass(ms: number): void
}

/** A cache with a real source behind it, over HTTP, whose faults and clocks are in the test's hand. */
export interface CachedSource {
  readonly simulator: Simulator
  readonly clocks: TestClocks
  readonly metadata: Metadata
  /** What the cache said of the source: down, up. */
  readonly said: ('down' | 'up')[]
  /** Paths of credentials that could not be refreshed, as often as it said so. */
  readonly unrefreshed: readonly string[]
  /** Paths of other answers that could not be used, likewise. */
  readonly unusable: readonly string[]
  /** What it said of roles that the cloud gives no credentials for. */
  readonly refusedRoles: readonly (readonly [path: string, code: string | undefined])[]
  /** How often `onCached` was called. */
  readonly cachedCount: () => number
  /** Another cache on the same source and clocks, as after a restart. */
  another(): Metadata
  /** GETs that the source has seen of a path; of all paths if none is given. */
  reads(path?: string): number
  stop(): Promise<void>
}

/** Longer than any answer of a simulator that answers, on a busy machine. */
export const ANSWER_WITHIN_MS = 1000
/** Nothing here hangs at connecting; a busy machine may. */
const CONNECT_MS = 10_000
const START_MS = Date.parse('2026-11-01T00:00:00Z')

/**
 * @param timeoutMs how long the source itself waits
 * @param entriesMax how many answers are cached
 */
export async function cachedSource(
  options: SimulatorOptions = {},
  timeoutMs = ANSWER_WITHIN_MS,
  entriesMax = 200,
): Promise<CachedSource> {
  const clocks = testClocks()
  const simulator = await startSimulator({ role: 'app', now: () => clocks.cloudMs, ...options })
  const bounds = { connectTimeoutMs: CONNECT_MS, timeoutMs, answerBytesMax: 1_048_576 }
  const source = openSource(aliyun, simulator.url, bounds, clocks.bootTimeMs)
  const said: ('down' | 'up')[] = []
  const unrefreshed: string[] = []
  const unusable: string[] = []
  const refusedRoles: [string, string | undefined][] = []
  let kept = 0
  const another = () =>
    metadataFrom({
      source,
      lifetimeOf: lifetimesBy(aliyun.lifetimes),
      dialect: aliyun,
      bounds: { entriesMax, bytesMax: 1_048_576 },
      clocks,
      answerWithinMs: ANSWER_WITHIN_MS,
      onSource: (isDown) => said.push(isDown ? 'down' : 'up'),
      onRefreshFailed: (path) => unrefreshed.push(path),
      onUnusable: (path) => unusable.push(path),
      onRole: (path, code) => refusedRoles.push([path, code]),
      onCached: () => {
        kept += 1
      },
    })
  return {
    simulator,
    clocks,
    metadata: another(),
    said,
    unrefreshed,
    unusable,
    refusedRoles,
    cachedCount: () => kept,
    another,
    reads: (path) =>
      simulator.requests.filter(
        ({ method, target }) => method === 'GET' && (path ?? target) === target,
      ).length,
    stop: async () => {
      await source.close()
      await simulator.close()
    },
  }
}

function testClocks(): TestClocks {
  const clocks: TestClocks = {
    bootMs: 10 * HOUR,
    wallMs: START_MS,
    cloudMs: START_MS,
    drawn: 0,
    pass: (ms) => {
      clocks.bootMs += ms
      clocks.wallMs += ms
      clocks.cloudMs += ms
    },
    bootTimeMs: () => clocks.bootMs,
    wallTimeMs: () => clocks.wallMs,
    random: () => clocks.drawn,
  }
  return clocks
}
