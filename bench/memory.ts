import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeMemoryCgroup } from '../test/harness/memory-cgroup.ts'
import { unitLimits } from '../test/harness/unit-file.ts'
import { type BenchAgent, NO_LIMITS, startAgent, TTL_HEADER } from './agent.ts'
import { type Row, round } from './compare.ts'
import { heldConnection } from './held.ts'
import { load } from './load.ts'
import { cpuSeconds, residentMib } from './process.ts'

const TOKENS = Number(process.env.BENCH_TOKENS ?? 1_000_000)
const CONNECTIONS = 4000
const IDLE_SECONDS = 60
const CONFIG = `${NO_LIMITS}connections = 4096\nconnections_per_uid = 4096\n`

/** Memory, also as the cgroup counts it: idle, after a million living tokens, with idle connections. */
export async function memory(directory: string): Promise<Row[]> {
  const { memoryBytesMax, descriptorsMax } = unitLimits()
  const descriptors = ['prlimit', `--nofile=${descriptorsMax}:${descriptorsMax}`]
  const cgroup = await makeMemoryCgroup(`metabind-bench-${process.pid}`, memoryBytesMax)
  const agent = await startAgent(directory, CONFIG, [...(cgroup?.prefix ?? []), ...descriptors])
  const rows: Row[] = []
  const look = async (subject: string) => {
    const bytes = await cgroup?.bytes()
    const counted = bytes === undefined ? 'no cgroup can be made' : round(bytes / 2 ** 20)
    const values = { 'RSS MiB': round(residentMib(agent.pid)), 'cgroup MiB': counted }
    rows.push({ question: 'memory', subject, values })
  }
  try {
    await sleep(5000)
    await look('idle')
    await makeTokens(agent, directory)
    await sleep(5000)
    await look(`after ${TOKENS} tokens`)
    const held = await connections(agent.socket)
    await sleep(2000)
    await look(`${held.length} idle connections`)
    for (const socket of held) socket.destroy()
    return rows
  } finally {
    await agent.stop()
    await cgroup?.remove()
  }
}

/** What an agent does that nobody asks anything. */
export async function idle(directory: string): Promise<Row[]> {
  const agent = await startAgent(directory)
  try {
    await sleep(5000)
    const before = cpuSeconds([agent.pid])
    await sleep(IDLE_SECONDS * 1000)
    const used = cpuSeconds([agent.pid]) - before
    const percent = Math.round((used / IDLE_SECONDS) * 1e5) / 1000
    return [{ question: 'idle', subject: 'metabind, a minute', values: { 'CPU %': percent } }]
  } finally {
    await agent.stop()
  }
}

async function makeTokens({ socket }: BenchAgent, directory: string): Promise<void> {
  for (let made = 0; made < TOKENS; made += TOKENS / 5) {
    await load({
      ...{ socket, path: '/latest/api/token', method: 'PUT', headers: { [TTL_HEADER]: '21600' } },
      ...{ connections: 16, requests: TOKENS / 5, directory },
    })
  }
}

async function connections(path: string): Promise<Socket[]> {
  const held: Socket[] = []
  while (held.length < CONNECTIONS) held.push(await heldConnection(path))
  return held
}
