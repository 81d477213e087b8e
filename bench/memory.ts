import { setTimeout as sleep } from 'node:timers/promises'
import { NO_LIMITS, startAgent } from './agent.ts'
import { type Row, round } from './compare.ts'
import { load } from './load.ts'
import { residentMib } from './process.ts'

const TOKENS = 1_000_000
const STEPS = 5
const HEADERS = { 'X-aliyun-ecs-metadata-token-ttl-seconds': '21600' }

/** What memory do a million living tokens take? Their number is not limited. */
export async function memory(directory: string): Promise<Row[]> {
  const agent = await startAgent(directory, NO_LIMITS)
  const row = (subject: string): Row => ({
    question: 'memory',
    subject,
    values: { 'RSS MiB': round(residentMib(agent.pid)) },
  })
  try {
    await sleep(3000)
    const rows = [row('idle')]
    for (let step = 1; step <= STEPS; step += 1) {
      await load({
        ...{ socket: agent.socket, path: '/latest/api/token', method: 'PUT', headers: HEADERS },
        ...{ connections: 16, requests: TOKENS / STEPS, directory },
      })
      rows.push(row(`after ${(TOKENS * step) / STEPS} tokens`))
    }
    await sleep(5000)
    return [...rows, row('5 s later')]
  } finally {
    await agent.stop()
  }
}
