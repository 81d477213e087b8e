import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { keptInputs, layOut, writeCorpus } from './corpus.ts'
import { bundleTarget, type Figures, fuzz, smallest } from './engine.ts'
import { type Result, writeTable } from './table.ts'
import type { FuzzTarget } from './target.ts'

/**
 * `./dev fuzz [TARGET...] [--minutes N] [--jobs N] [--state FOLDER] [--write]`: N minutes in all, two unless
 * told otherwise. FOLDER keeps what was reached and counted, for the next run; `--write` puts the
 * smallest corpora beside the targets and the figures into docs/reliability.md, and after no minutes that is all.
 */

const TARGETS = readdirSync(fileURLToPath(new URL('targets', import.meta.url)))
  .map((file) => file.replace(/\.ts$/, ''))
  .sort()
const SLICE_SECONDS_MAX = 120
const SLICE_SECONDS_MIN = 10
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '2' },
    jobs: { type: 'string', default: '1' },
    state: { type: 'string', default: join(ROOT, '.dev/fuzz/state') },
    write: { type: 'boolean', default: false },
  },
})
const unknown = positionals.find((name) => !TARGETS.includes(name))
const minutes = Number(values.minutes)
const jobs = Number(values.jobs)
if (unknown !== undefined || !(minutes >= 0) || !(jobs >= 1)) {
  const why =
    unknown === undefined
      ? '--minutes and --jobs take numbers'
      : `no target '${unknown}'; there is ${TARGETS.join(' ')}`
  process.stderr.write(`fuzz: ${why}\n`)
  process.exit(2)
}
const state = resolve(values.state)
const resultsPath = join(state, 'results.json')
const asked = positionals.length > 0 ? positionals : TARGETS
const aborting = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => aborting.abort())

const results: Record<string, Result> = existsSync(resultsPath)
  ? JSON.parse(readFileSync(resultsPath, 'utf8'))
  : {}
const failed = new Set<string>()
const programs = new Map<string, { path: string; target: FuzzTarget }>()
if (minutes > 0) await fuzzAll(minutes * 60, jobs)
if (values.write) await write()
const passed = asked.length - failed.size
if (minutes > 0) process.stdout.write(`${passed} passed, ${failed.size} failed\n`)
process.exitCode = failed.size > 0 ? 1 : 0

/** Turn by turn, so that a run that is ended early has seen all of them; each target in one of the jobs. */
async function fuzzAll(seconds: number, jobs: number): Promise<void> {
  for (const name of asked) programs.set(name, await prepare(name))
  const end = performance.now() + seconds * 1000
  const ofJob = (job: number) => asked.filter((_, at) => at % jobs === job)
  const all = Array.from({ length: jobs }, (_, job) => fuzzSome(ofJob(job), seconds, end))
  await Promise.all(all)
}

async function fuzzSome(names: readonly string[], seconds: number, end: number): Promise<void> {
  const turns = turnsIn(names, seconds)
  const slice = Math.min(SLICE_SECONDS_MAX, Math.floor(seconds / turns.length))
  for (let turn = 0; !aborting.signal.aborted; turn += 1) {
    // All have had their turns then, or it would be too late for another.
    const isOver = turn >= turns.length && performance.now() >= end
    const name = turns[turn % turns.length]
    if (isOver || name === undefined || names.every((each) => failed.has(each))) return
    if (!failed.has(name)) await takeTurn(name, slice)
  }
}

/** Those with more turns than others have them in later rounds; in a short run each has one. */
function turnsIn(names: readonly string[], seconds: number): readonly string[] {
  const turnsOf = (name: string) => programs.get(name)?.target.turns ?? 1
  const rounds = Array.from({ length: Math.max(0, ...names.map(turnsOf)) }, (_, round) => round)
  // Later rounds first: they are of the quick ones, and a run may be ended early.
  const turns = rounds
    .toReversed()
    .flatMap((round) => names.filter((name) => turnsOf(name) > round))
  return seconds / turns.length < SLICE_SECONDS_MIN ? names : turns
}

async function prepare(name: string): Promise<{ path: string; target: FuzzTarget }> {
  const { target }: { target: FuzzTarget } = await import(`./targets/${name}.ts`)
  const inputs = [...target.seeds(), ...keptInputs('corpus', name), ...keptInputs('found', name)]
  layOut(join(state, name, 'corpus'), inputs)
  return { path: await bundleTarget(name, join(state, name)), target }
}

async function takeTurn(name: string, seconds: number): Promise<void> {
  const { path, target } = programs.get(name) ?? (await prepare(name))
  const { bytesMax, words = [], isAsync = false } = target
  const run = { folder: join(state, name), seconds, bytesMax, words, isAsync }
  const { finding, ...figures } = await fuzz(path, run, aborting.signal)
  results[name] = sum(results[name], figures, finding !== undefined)
  mkdirSync(state, { recursive: true })
  writeFileSync(`${resultsPath}.new`, `${JSON.stringify(results, null, 2)}\n`)
  renameSync(`${resultsPath}.new`, resultsPath)
  const rate = Math.round(figures.executions / figures.seconds)
  process.stdout.write(
    `${name.padEnd(20)} ${figures.executions} executions, ${rate} a second, ${figures.edges} edges, ` +
      `${figures.features} features, ${figures.inputs} inputs, ${figures.rssMb} MB\n`,
  )
  if (finding === undefined) return
  failed.add(name)
  process.stderr.write(`fuzz: ${name}: found, kept in ${run.folder}/crashes\n${finding}\n`)
}

function sum(before: Result | undefined, figures: Figures, isFinding: boolean): Result {
  return {
    executions: (before?.executions ?? 0) + figures.executions,
    seconds: (before?.seconds ?? 0) + figures.seconds,
    cpuSeconds: (before?.cpuSeconds ?? 0) + figures.cpuSeconds,
    edges: Math.max(before?.edges ?? 0, figures.edges),
    features: Math.max(before?.features ?? 0, figures.features),
    inputs: figures.inputs || (before?.inputs ?? 0),
    rssMb: Math.max(before?.rssMb ?? 0, figures.rssMb),
    findings: (before?.findings ?? 0) + (isFinding ? 1 : 0),
  }
}

async function write(): Promise<void> {
  for (const name of asked) {
    const folder = join(state, name, 'corpus')
    if (!existsSync(folder)) continue
    const { path } = programs.get(name) ?? (await prepare(name))
    await smallest(path, folder)
    writeCorpus(name, readFileSync(`${folder}.smallest`, 'utf8'))
  }
  writeTable(
    await Promise.all(
      TARGETS.map(async (name) => {
        const { target }: { target: FuzzTarget } = await import(`./targets/${name}.ts`)
        return { name, execution: target.execution, result: results[name] }
      }),
    ),
  )
}
