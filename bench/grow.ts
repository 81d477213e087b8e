import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { type BenchAgent, NO_LIMITS, startAgent, TOKEN_HEADER, TTL_HEADER } from './agent.ts'
import type { Curve } from './chart.ts'
import { type Row, round } from './compare.ts'
import { heldConnection } from './held.ts'
import { load } from './load.ts'
import { cpuSeconds, median, residentMib } from './process.ts'
import { bareNode, type Server } from './servers.ts'

/** How the CPU of a cached read changes with how much of something there is. */

const PATH = '/latest/meta-data/instance-id'
const ABSENT = '/latest/meta-data/absent'
const TURNS = 3
const HOURS_24_MS = 86_400_000
// An agent keeps one descriptor for each, and a second for 4,096 of them: less than the 16,384 of its unit.
const CONNECTION_STEPS = [1, 10, 100, 1000, 4000, 10_000]
// As many as a policy may have.
const RULE_STEPS = [1, 10, 100, 1000]
// As many as an agent remembers: REVOCATIONS_MAX of src/token/revocations.ts.
const REVOKED_STEPS = [1, 10, 100, 1000, 10_000, 32_768]
const PATH_STEPS = [1, 10, 100, 1000, 10_000]
// As many as are made within the time that a run of h2load is given.
const MINTED_AT_ONCE = 1_000_000
const TOKEN_STEPS = [
  1, 10, 100, 1000, 10_000, 100_000, 1_000_000,
  // Takes five minutes.
  10_000_000,
]

type Axis = (directory: string) => AsyncGenerator<readonly [amount: number, agent: BenchAgent]>

export async function grow(directory: string): Promise<Row[]> {
  const bare = await bareNode(directory, Buffer.from('i-0123456789abcdef0'))
  try {
    const rows = await auditRows(directory, bare)
    for (const [subject, axis] of Object.entries(AXES)) {
      const home = join(directory, subject.replaceAll(' ', '-'))
      mkdirSync(home)
      for await (const [amount, agent] of axis(home)) {
        const cost = await costOf(agent, bare, home)
        const values = { amount, 'x bare': cost, 'RSS MiB': round(residentMib(agent.pid)) }
        rows.push({ question: 'grow', subject, values })
      }
    }
    return rows
  } finally {
    await bare.stop()
  }
}

/** A curve for each of the axes. */
export function curvesOf(rows: readonly Row[]): Curve[] {
  const numbers = rows
    .filter(({ question }) => question === 'grow')
    .map(({ subject, values }) => ({
      subject,
      x: Number(values.amount),
      y: Number(values['x bare']),
    }))
  return [...Map.groupBy(numbers, ({ subject }) => subject)].map(([name, points]) => ({
    name,
    points: points.map(({ x, y }) => [x, y] as const),
  }))
}

/** In turn with the bare server, so that what disturbs the machine disturbs both. */
async function costOf(agent: BenchAgent, bare: Server, directory: string): Promise<number> {
  const headers = { [TOKEN_HEADER]: await agent.token() }
  const costs: number[] = []
  for (let turn = 0; turn <= TURNS; turn += 1) {
    const other = await cpuUsOf(bare, headers, directory)
    const own = await cpuUsOf(agent, headers, directory)
    // The first turn only warms up.
    if (turn > 0) costs.push(own / other)
  }
  return round(median(costs))
}

async function cpuUsOf(
  { socket, pids }: Server,
  headers: Readonly<Record<string, string>>,
  directory: string,
): Promise<number> {
  const before = cpuSeconds(pids)
  const asked = { socket, path: PATH, headers, connections: 16, seconds: 1, directory }
  const { requests, statuses } = await load(asked)
  if (statuses['2xx'] !== requests) throw new Error(`refused: ${JSON.stringify(statuses)}`)
  return ((cpuSeconds(pids) - before) / requests) * 1e6
}

const AXES: Readonly<Record<string, Axis>> = {
  'idle connections': async function* (directory) {
    const limits = 'connections = 12000\nconnections_per_uid = 12000\n'
    const agent = await startAgent(directory, `${NO_LIMITS}${limits}`)
    const held: Socket[] = []
    for (const amount of CONNECTION_STEPS) {
      while (held.length < amount) held.push(await heldConnection(agent.socket))
      yield [amount, agent]
    }
    for (const socket of held) socket.destroy()
    await agent.stop()
  },
  'rules of the policy': async function* (directory) {
    for (const amount of RULE_STEPS) {
      const home = join(directory, String(amount))
      mkdirSync(home)
      const file = join(home, 'policy.toml')
      writeFileSync(file, policyOf(amount), { mode: 0o644 })
      const agent = await startAgent(home, `${NO_LIMITS}[policy]\nfile = ${JSON.stringify(file)}\n`)
      yield [amount, agent]
      await agent.stop()
    }
  },
  'revoked tokens': async function* (directory) {
    for (const amount of REVOKED_STEPS) {
      const home = join(directory, String(amount))
      mkdirSync(join(home, 'run'), { recursive: true, mode: 0o700 })
      const endMs = Math.round(performance.now() + HOURS_24_MS * 365)
      const tokens = Array.from({ length: amount }, () => [randomBytes(8).toString('hex'), endMs])
      const file = { generation: '0'.repeat(32), tokens }
      writeFileSync(join(home, 'run/revocations'), JSON.stringify(file), { mode: 0o600 })
      const agent = await startAgent(home, NO_LIMITS)
      yield [amount, agent]
      await agent.stop()
    }
  },
  // Nearly all of them of what there is not, which is remembered like what there is.
  'cached paths': async function* (directory) {
    const cache = '[cache]\nentries_max = 16384\n'
    const agent = await startAgent(directory, `${NO_LIMITS}${cache}`)
    const headers = { [TOKEN_HEADER]: await agent.token() }
    let cached = 1
    for (const amount of PATH_STEPS) {
      const paths = Array.from({ length: amount - cached }, (_, at) => `${ABSENT}-${cached + at}`)
      const { socket } = agent
      const asked = { socket, headers, connections: 1, requests: paths.length, directory }
      if (paths.length > 0) await load({ ...asked, paths })
      cached = amount
      yield [amount, agent]
    }
    await agent.stop()
  },
  'tokens made': async function* (directory) {
    const agent = await startAgent(directory, NO_LIMITS)
    let made = 0
    for (const amount of TOKEN_STEPS) {
      await mint(agent, amount - made, directory)
      made = amount
      yield [amount, agent]
    }
    await agent.stop()
  },
}

/** Audit records cannot be left out; they go to the log, to a chain of records, or to both. */
async function auditRows(directory: string, bare: Server): Promise<Row[]> {
  const rows: Row[] = []
  for (const where of ['log', 'chain', 'log and chain']) {
    const home = join(directory, where.replaceAll(' ', '-'))
    mkdirSync(home)
    const file = `[audit]\nfile = ${JSON.stringify(join(home, 'audit'))}\n`
    const journal = where.includes('log') ? '' : 'journal = false\n'
    const agent = await startAgent(home, `${NO_LIMITS}${where === 'log' ? '' : file + journal}`)
    const values = { 'x bare': await costOf(agent, bare, home) }
    rows.push({ question: 'audit', subject: `to the ${where}`, values })
    await agent.stop()
  }
  return rows
}

async function mint({ socket }: BenchAgent, amount: number, directory: string): Promise<void> {
  const headers = { [TTL_HEADER]: '21600' }
  const asked = { socket, path: '/latest/api/token', method: 'PUT', headers, directory } as const
  for (let left = amount; left > 0; left -= MINTED_AT_ONCE) {
    const requests = Math.min(left, MINTED_AT_ONCE)
    await load({ ...asked, requests, connections: Math.min(16, requests) })
  }
}

/** The last of them is for the path that is read. */
function policyOf(amount: number): string {
  const rules = Array.from({ length: amount }, (_, at) => {
    const path = at === amount - 1 ? PATH : `/latest/meta-data/item-${at}/**`
    return `[[rule]]\nname = "rule ${at}"\neffect = "allow"\npaths = ["${path}"]\n`
  })
  return `mode = "enforce"\n${rules.join('')}`
}
