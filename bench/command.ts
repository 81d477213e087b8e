import { join } from 'node:path'
import { library, startAgent } from './agent.ts'
import { type Row, round } from './compare.ts'
import { cpuMsOf, median } from './process.ts'

const ROUNDS = 15
// Of packaging/metabind.sh.
const FLAGS = ['--max-semi-space-size=1', '--max-old-space-size=96', '--jitless']

/** What the commands that SDKs and scripts run each time cost, from start to end, against `node -e 0`. */
export async function command(directory: string): Promise<Row[]> {
  const agent = await startAgent(directory)
  const lib = await library()
  const node = join(lib, 'bin/node')
  const metabind = (...args: readonly string[]) => [
    ...[node, ...FLAGS, join(lib, 'metabind.cjs'), ...args],
    ...['--socket', agent.socket],
  ]
  const commands: Readonly<Record<string, readonly string[]>> = {
    'node -e 0': [node, '-e', '0'],
    'metabind get': metabind('get', 'instance-id'),
    'metabind token': metabind('token'),
    'metabind credential': metabind('credential', 'bench'),
  }
  const times = new Map(Object.keys(commands).map((name) => [name, [] as number[]]))
  try {
    for (let turn = 0; turn < ROUNDS; turn += 1) {
      for (const [name, words] of Object.entries(commands)) {
        times.get(name)?.push(await cpuMsOf(words))
      }
    }
  } finally {
    await agent.stop()
  }
  const bare = median(times.get('node -e 0') ?? [])
  return [...times].map(([subject, all]) => ({
    question: 'command',
    subject,
    values: { 'CPU ms': round(median(all)), 'x node -e 0': round(median(all) / bare) },
  }))
}
