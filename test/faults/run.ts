import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { removeEndedClocks } from '../harness/false-clock.ts'
import { layLibrary } from '../harness/library.ts'
import { type Fault, makeFault } from './fault.ts'
import { FAULTS } from './faults.ts'
import { keepOutcome, keptOutcomes, rowOf, writeTable } from './report.ts'

/** `./dev faults [ROW...] [--times N] [--results DIR] [--kept] [--write]`: makes faults, and says what became of them. */

const RESULTS = fileURLToPath(new URL('../../.dev/faults', import.meta.url))

const { values, positionals: asked } = parseArgs({
  allowPositionals: true,
  options: {
    times: { type: 'string' },
    results: { type: 'string', multiple: true, default: [] },
    kept: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
})
const names = FAULTS.map(({ name }) => name)
const unknown = asked.find((name) => !names.includes(name))
const times = values.times === undefined ? undefined : Number(values.times)
if (unknown !== undefined || Number.isNaN(times)) {
  const what = unknown === undefined ? '--times wants a number' : `no row '${unknown}'`
  process.stderr.write(`faults: ${what}; rows: ${names.join(' ')}\n`)
  process.exit(2)
}
if (values.list) {
  for (const { name, what } of FAULTS) process.stdout.write(`${name.padEnd(24)} ${what}\n`)
  process.exit()
}
const [results = RESULTS] = values.results
// What takes an hour is run only by its name.
const chosen = FAULTS.filter(({ name, isLong }) =>
  asked.length === 0 ? isLong !== true : asked.includes(name),
)
if (!values.kept) await runAll(chosen)
if (values.write) writeTable(names, keptOutcomes([RESULTS, ...values.results]))

async function runAll(faults: readonly Fault[]): Promise<void> {
  const scratch = mkdtempSync('/tmp/faults-')
  process.once('exit', () => removeScratch(scratch))
  // Whoever ends this by hand wants no disks left either.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))
  await chmod(scratch, 0o755)
  const library = await layLibrary(join(scratch, 'lib'))
  for (const [at, fault] of faults.entries()) await runOne(fault, join(scratch, `${at}`), library)
}

/** Whatever a fault has mounted there, however it ended. */
function removeScratch(scratch: string): void {
  const mounted = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((place) => place.startsWith(`${scratch}/`))
  // The last first: one may lie on another.
  for (const place of mounted.reverse()) execFileSync('umount', ['--lazy', place])
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 })
  removeEndedClocks()
}

async function runOne(fault: Fault, directory: string, library: string): Promise<void> {
  const keep = (outcome: Parameters<typeof keepOutcome>[1]) => keepOutcome(results, outcome)
  process.stdout.write(`${fault.name}: ${fault.what}\n`)
  const outcome = await makeFault(fault, { directory, library, times, keep })
  keep(outcome)
  if (outcome.wrong.length > 0) {
    copyFileSync(join(directory, 'agent.log'), join(results, `${fault.name}.log`))
  }
  process.stdout.write(`${rowOf(outcome)}\n`)
  if (outcome.wrong.length > 0) process.exitCode = 1
}
