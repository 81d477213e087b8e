import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startAgent } from './agent.ts'
import { type Row, round } from './compare.ts'
import { median } from './process.ts'

const RUNS = 5

/** How long until the first answer, against a Node that only starts? */
export async function start(directory: string): Promise<Row[]> {
  const ready: number[] = []
  const bare: number[] = []
  for (let run = 0; run < RUNS; run += 1) {
    const home = join(directory, String(run))
    mkdirSync(home)
    const agent = await startAgent(home)
    ready.push(agent.readyMs)
    await agent.stop()
    const startedAtMs = performance.now()
    spawnSync(process.execPath, ['-e', '0'])
    bare.push(performance.now() - startedAtMs)
  }
  return [
    { question: 'start', subject: 'node -e 0', values: { ms: round(median(bare)) } },
    {
      question: 'start',
      subject: 'metabindd to its first answer',
      values: { ms: round(median(ready)) },
    },
  ]
}
