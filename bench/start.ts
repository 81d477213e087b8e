import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ask, type BenchAgent, library, startAgent } from './agent.ts'
import { type Row, round } from './compare.ts'
import { cpuMsOf, cpuSeconds, median } from './process.ts'

const RUNS = 5
const TPM_TIME = /^metabind_tpm_command_seconds_sum(?:\{[^}]*\})? (\S+)$/gm

interface Start {
  readonly readyMs: number
  readonly tpmMs: number
  readonly cpuMs: number
}

/** How long until the first answer, how much of it the TPM takes, and what a Node costs that only starts. */
export async function start(directory: string): Promise<Row[]> {
  const starts: Start[] = []
  const bare: number[] = []
  const node = join(await library(), 'bin/node')
  for (let run = 0; run < RUNS; run += 1) {
    const home = join(directory, String(run))
    mkdirSync(home)
    const agent = await startAgent(home)
    starts.push(await startOf(agent))
    await agent.stop()
    bare.push(await cpuMsOf([node, '-e', '0']))
  }
  const of = (part: (start: Start) => number) => round(median(starts.map(part)))
  return [
    { question: 'start', subject: 'node -e 0', values: { 'CPU ms': round(median(bare)) } },
    {
      question: 'start',
      subject: 'metabindd to its first answer',
      values: {
        ms: of(({ readyMs }) => readyMs),
        'TPM ms': of(({ tpmMs }) => tpmMs),
        'without TPM ms': of(({ readyMs, tpmMs }) => readyMs - tpmMs),
        'CPU ms': of(({ cpuMs }) => cpuMs),
      },
    },
  ]
}

/** The commands of the start are one after the other, so their time is that of the start. */
async function startOf({ admin, pid, readyMs }: BenchAgent): Promise<Start> {
  const cpuMs = cpuSeconds([pid]) * 1000
  const metrics = await ask(admin, 'GET', '/metabind/v1/metrics')
  const seconds = [...metrics.matchAll(TPM_TIME)].map(([, value]) => Number(value))
  return { readyMs, cpuMs, tpmMs: seconds.reduce((sum, one) => sum + one, 0) * 1000 }
}
