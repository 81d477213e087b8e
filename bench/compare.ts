import { type Load, type Loaded, load } from './load.ts'
import { cpuSeconds, median } from './process.ts'
import type { Server } from './servers.ts'

/** One line of the table. */
export interface Row {
  readonly question: string
  readonly subject: string
  readonly values: Readonly<Record<string, number | string>>
}

/** A server and what it is asked. */
export interface Contestant {
  readonly server: Server
  readonly question: string
  readonly ask: Omit<
    Load,
    'socket' | 'connections' | 'isNewEach' | 'seconds' | 'requests' | 'directory'
  >
  readonly connections: number
  readonly isNewEach?: boolean
  /** So many and no more. */
  readonly requests?: number
  /** Asked by each of these users in turn, as many times each; by the user that measures if absent. */
  readonly uids?: readonly number[]
  /** Compared with those of the same name only. */
  readonly among?: string
}

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5)
const SECONDS = Number(process.env.BENCH_SECONDS ?? 1)

interface Round {
  readonly cpuUs: number
  readonly loaded: Loaded
}

/**
 * Each in turn, round after round, so that what disturbs the machine disturbs all of them. The ratios are to
 * the first contestant that is asked in the same way.
 */
export async function compare(
  directory: string,
  contestants: readonly Contestant[],
): Promise<Row[]> {
  const rounds = contestants.map((): Round[] => [])
  for (let round = 0; round <= ROUNDS; round += 1) {
    process.stderr.write(`round ${round} of ${ROUNDS}\n`)
    for (const [at, contestant] of contestants.entries()) {
      const measured = await measure(contestant, directory)
      // The first round only warms up.
      if (round > 0) rounds[at]?.push(measured)
    }
  }
  return contestants.map((contestant, at) => {
    const first = contestants.findIndex(
      (other) => wayOf(other) === wayOf(contestant) && other.among === contestant.among,
    )
    return rowOf(contestant, rounds[at] ?? [], rounds[first] ?? [])
  })
}

/** How a server is asked, in words. */
function wayOf({ connections, isNewEach }: Contestant): string {
  return isNewEach ? 'new connections' : `${connections} kept`
}

async function measure(contestant: Contestant, directory: string): Promise<Round> {
  const { server, ask, connections, isNewEach = false, requests, uids = [undefined] } = contestant
  const before = cpuSeconds(server.pids)
  const all: Loaded[] = []
  for (const uid of uids) {
    const loaded = await load({
      ...ask,
      ...{ socket: server.socket, connections, isNewEach, directory },
      ...(requests === undefined ? { seconds: SECONDS } : { requests }),
      ...(uid === undefined ? {} : { uid }),
    })
    all.push(loaded)
  }
  const used = cpuSeconds(server.pids) - before
  const answered = all.reduce((sum, { requests: each }) => sum + each, 0)
  // Each user asks for as long: the middle one stands for all but the number of requests.
  const [middle] = all.sort((a, b) => a.p50Ms - b.p50Ms).slice(Math.floor(all.length / 2))
  if (middle === undefined) throw new Error('nobody asked')
  return { loaded: middle, cpuUs: (used / answered) * 1e6 }
}

function rowOf(contestant: Contestant, rounds: readonly Round[], first: readonly Round[]): Row {
  const of = (part: (round: Round) => number, all = rounds) => median(all.map(part))
  const cpuUs = of((round) => round.cpuUs)
  const p99Ms = of((round) => round.loaded.p99Ms)
  return {
    question: contestant.question,
    subject: `${contestant.server.name}, ${wayOf(contestant)}`,
    values: {
      'CPU µs': round(cpuUs),
      'x bare': round(cpuUs / of((round) => round.cpuUs, first)),
      '1/s': Math.round(of((round) => round.loaded.perSecond)),
      'p50 ms': round(of((round) => round.loaded.p50Ms)),
      'p99 ms': round(p99Ms),
      'p99 x bare': round(p99Ms / of((round) => round.loaded.p99Ms, first)),
      answers: Object.keys(rounds.at(-1)?.loaded.statuses ?? {}).join(' '),
    },
  }
}

export function round(value: number): number {
  return Math.round(value * 100) / 100
}
