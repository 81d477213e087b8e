import { setTimeout as sleep } from 'node:timers/promises'
import { type Audience, gather } from './audience.ts'
import { brokenChain, leftovers, secretsLeft, tryPaths, tryTokens, untilWell } from './checks.ts'
import { type Stage, type StageOptions, startStage } from './stage.ts'

/** One fault, or one kind of them at each place where it can be made: a row of the table. */
export interface Fault {
  readonly name: string
  /** What is done, for the table. */
  readonly what: string
  /** More configuration of the agent, as TOML. */
  readonly config?: string
  /** Directories of the agent that are disks of their own. */
  readonly disks?: StageOptions['disks']
  /** Whether connections may end without an answer: the agent is killed, or has no descriptors. */
  readonly mayLose?: boolean
  /** It takes an hour: it is run only if it is named. */
  readonly isLong?: boolean
  /** Why the agent may end by itself: what it says then. Nothing, if left out. */
  readonly mayEnd?: RegExp
  /** Within which it must be well again. */
  readonly boundMs?: number
  make(scene: Scene): Promise<void>
}

/** What a fault is made in. */
export interface Scene {
  readonly stage: Stage
  readonly audience: Audience
  /** How often it is to be made, if the fault leaves that open. */
  readonly times: number | undefined
  /** Counts one fault that was made. */
  made(): void
  /** Waits until the agent is well, and counts the time since then (performance.now()). */
  well(sinceMs: number): Promise<void>
  /** Holds all that must be true after a fault against what is. */
  check(): Promise<void>
  /** Keeps what is wrong besides. */
  wrong(what: string): void
  /** Told what was found so far. */
  keep(): void
}

/** What became of a row. */
export interface Outcome {
  readonly name: string
  readonly what: string
  readonly times: number
  readonly seen: Readonly<Record<string, number>>
  readonly wellMs: { readonly median: number; readonly longest: number }
  readonly longestAnswerMs: number
  readonly tokensTried: number
  /** How often the agent ended by itself, as the fault may have it. */
  readonly ended: number
  /** What it said then, each once. */
  readonly endedFor: readonly string[]
  readonly wrong: readonly string[]
}

const WELL_MS_MAX = 60_000
const LOAD_MS = 500
const WRONG_MAX = 50

export interface FaultOptions {
  readonly directory: string
  readonly library: string
  readonly times: number | undefined
  readonly keep: (outcome: Outcome) => void
}

/** Makes a fault under load, and says what became of it. */
export async function makeFault(fault: Fault, options: FaultOptions): Promise<Outcome> {
  const { boundMs = WELL_MS_MAX } = fault
  await using stage = await startStage({
    ...options,
    config: fault.config ?? '',
    disks: fault.disks ?? [],
  })
  await using audience = await gather(stage)
  const wellMs: number[] = []
  const wrong: string[] = []
  let times = 0
  let tokensTried = 0
  const outcome = (): Outcome => ({
    name: fault.name,
    what: fault.what,
    times,
    seen: Object.fromEntries([...audience.seen].sort()),
    wellMs: { median: median(wellMs), longest: Math.max(0, ...wellMs) },
    longestAnswerMs: audience.longestMs,
    tokensTried,
    ended: stage.endings.length,
    endedFor: [...new Set(stage.endings)].slice(0, WRONG_MAX),
    wrong: [
      ...new Set([
        ...wrong,
        ...audience.wrong,
        ...lostOf(fault, audience),
        ...endedOf(fault, stage),
      ]),
    ].slice(0, WRONG_MAX),
  })
  const scene: Scene = {
    stage,
    audience,
    times: options.times,
    made: () => {
      times += 1
    },
    well: async (sinceMs) => {
      const atMs = await untilWell(stage, audience, boundMs)
      if (atMs === undefined) wrong.push(`not well within ${boundMs} ms: ${lastOf(stage)}`)
      else wellMs.push(Math.round(atMs - sinceMs))
    },
    check: async () => {
      await audience.pause()
      tokensTried += await tryTokens(audience)
      await tryPaths(audience)
      const broken = await brokenChain(stage)
      if (broken !== undefined) wrong.push(broken)
      wrong.push(...secretsLeft(stage, audience), ...(await leftovers(stage)))
      audience.begin()
    },
    wrong: (what) => void wrong.push(what),
    keep: () => options.keep(outcome()),
  }
  audience.begin()
  await sleep(LOAD_MS)
  await fault.make(scene)
  if (wellMs.length === 0) await scene.well(performance.now())
  await sleep(LOAD_MS)
  await scene.check()
  await audience.pause()
  return outcome()
}

function lostOf({ mayLose = false }: Fault, { seen }: Audience): string[] {
  return mayLose ? [] : [...seen.keys()].filter((as) => as.startsWith('no answer'))
}

function endedOf({ mayEnd }: Fault, { endings }: Stage): string[] {
  return endings
    .filter((why) => mayEnd?.test(why) !== true)
    .map((why) => `the agent ended by itself: ${why}`)
}

function lastOf({ agent }: Stage): string {
  return agent.output().trim().split('\n').slice(-3).join(' / ')
}

function median(of: readonly number[]): number {
  return [...of].sort((one, other) => one - other)[Math.floor(of.length / 2)] ?? 0
}
