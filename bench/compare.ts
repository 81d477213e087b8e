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
  readonly name?: string
  readonly ask: Omit<Load, 'socket' | 'connections' | 'seconds' | 'directory'>
  /** Sixteen if left out. */
  readonly connections?: number
}

const ROUNDS = 5
const SECONDS = 2
const CONNECTIONS = 16

interface Round {
  readonly perSecond: number
  readonly cpuUs: number
  readonly loaded: Loaded
}

/** Each in turn, round after round, so that what disturbs the machine disturbs all of them. */
export async function compare(
  question: string,
  directory: string,
  contestants: readonly Contestant[],
): Promise<Row[]> {
  const rounds = contestants.map((): Round[] => [])
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [at, contestant] of contestants.entries()) {
      const measured = await measure(contestant, directory)
      // The first round only warms up.
      if (round > 0) rounds[at]?.push(measured)
    }
  }
  const [first = []] = rounds
  return contestants.map((contestant, at) => rowOf(question, contestant, rounds[at] ?? [], first))
}

async function measure(contestant: Contestant, directory: string): Promise<Round> {
  const { server, ask, connections = CONNECTIONS } = contestant
  const before = cpuSeconds(server.pids)
  const loaded = await load({
    ...ask,
    ...{ socket: server.socket, connections, seconds: SECONDS, directory },
  })
  const used = cpuSeconds(server.pids) - before
  return { loaded, perSecond: loaded.perSecond, cpuUs: (used / loaded.requests) * 1e6 }
}

function rowOf(
  question: string,
  { server, name = server.name }: Contestant,
  rounds: readonly Round[],
  first: readonly Round[],
): Row {
  const of = (part: (round: Round) => number, all = rounds) => median(all.map(part))
  const cpuUs = of((round) => round.cpuUs)
  return {
    question,
    subject: name,
    values: {
      'CPU µs/request': round(cpuUs),
      'of the first': round(cpuUs / of((round) => round.cpuUs, first)),
      'requests/s': Math.round(of((round) => round.perSecond)),
      'p99 ms': round(of((round) => round.loaded.p99Ms)),
      answers: Object.entries(rounds.at(-1)?.loaded.statuses ?? {})
        .map(([kind, count]) => `${kind} ${count}`)
        .join(' '),
    },
  }
}

export function round(value: number): number {
  return Math.round(value * 100) / 100
}
