import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { AREAS, type Area, testsOf } from './areas.ts'
import { type Mutant, mutantsOf } from './report.ts'
import { compare, parseExplanations } from './survivors.ts'
import { scoreOf, withScore } from './table.ts'

/**
 * `./dev mutate [--change] [--write] [AREA|FILE...]`: changes the sources in one place after the other and looks whether
 * a test notices. Every mutant that none notices is explained beside the suite, or the verb fails.
 */
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const STRYKER = `${ROOT}test/mutate/node_modules/@stryker-mutator/core/bin/stryker.js`
const PAGE = `${ROOT}docs/reliability.md`
const PERCENT_MIN = 90
// More than there are cores: a mutant that is noticed by waiting for what does not come needs none of them.
const WORKERS = '4'

const lastRun = z.looseObject({
  files: z.record(
    z.string(),
    z.looseObject({
      source: z.string(),
      mutants: z.array(z.looseObject({ status: z.string() })),
    }),
  ),
})

process.chdir(ROOT)
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    change: { type: 'boolean', default: false },
    fresh: { type: 'boolean', default: false },
    jobs: { type: 'string', default: WORKERS },
    write: { type: 'boolean', default: false },
  },
})
const asked = values.change ? changedAreas() : positionals
const runs = runsOf(asked.length > 0 || values.change ? asked : Object.keys(AREAS))
let isWell = true
for (const run of runs) isWell = tell(run, mutate(run)) && isWell
process.exit(isWell ? 0 : 1)

/** An area, or some files of it. */
interface Run {
  readonly name: string
  readonly area: Area
  readonly files: readonly string[]
  readonly isWhole: boolean
}

function runsOf(asked: readonly string[]): Run[] {
  const owners = Object.groupBy(asked, (one) => areaOf(one))
  return Object.entries(AREAS).flatMap(([name, area]) => {
    const own = owners[name]
    if (own === undefined) return []
    const all = sourcesOf(area)
    const isWhole = own.some((one) => !all.includes(one))
    return [{ name, area, files: isWhole ? all : own, isWhole }]
  })
}

/** The name of the area that is asked for, or that a file is of. */
function areaOf(asked: string): string {
  const name = asked.replace(/^src\//, '').replace(/\/$/, '')
  if (name in AREAS) return name
  const owner = Object.entries(AREAS).find(([, area]) => sourcesOf(area).includes(asked))
  if (owner !== undefined) return owner[0]
  process.stderr.write(
    `mutate: no area and no file of one: '${asked}'; areas: ${Object.keys(AREAS)}\n`,
  )
  process.exit(2)
}

function sourcesOf({ sources }: Area): string[] {
  return globSync([...sources]).sort()
}

/** The areas of which a source or a test is not upstream yet. */
function changedAreas(): string[] {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).split('\n')
  const [base = 'HEAD'] = git('merge-base', 'HEAD', '@{upstream}')
  const changed = [
    ...git('diff', '--name-only', base),
    ...git('ls-files', '--others', '--exclude-standard'),
  ]
  const names = Object.entries(AREAS).filter(([, area]) => {
    const own = [...sourcesOf(area), ...testsOf(area), area.survivors]
    return own.some((file) => changed.includes(file))
  })
  return names.map(([name]) => name)
}

function mutate({ name, area, files }: Run): Mutant[] {
  mkdirSync('.dev/mutate', { recursive: true })
  const report = `.dev/mutate/${name}.json`
  const config = `.dev/mutate/${name}.config.json`
  keepNoticed(`.dev/mutate/${name}.last.json`)
  writeFileSync(config, JSON.stringify(configOf(name, files, report)))
  const env = {
    ...process.env,
    MUTATE_TESTS: testsOf(area).join(' '),
    MUTATE_TIMES: `${ROOT}.dev/mutate/${name}.times.json`,
  }
  const { status } = spawnSync(process.execPath, [STRYKER, 'run', config], {
    env,
    stdio: ['ignore', 2, 2],
  })
  if (status !== 0) throw new Error(`Stryker ended with ${status}`)
  // What was taken over of other files is in the report as well, without what lived on there.
  const all = mutantsOf(JSON.parse(readFileSync(report, 'utf8')))
  return all.filter(({ file }) => files.includes(file))
}

/**
 * Of the last run that is taken over which was noticed in a file that did not change since. Stryker would take over more:
 * what lived on in code that is only evaluated once, though new tests are there, and all but the changed lines of a file.
 */
function keepNoticed(path: string): void {
  if (!existsSync(path)) return
  const last = lastRun.parse(JSON.parse(readFileSync(path, 'utf8')))
  const isSame = (file: string, source: string) =>
    existsSync(file) && readFileSync(file, 'utf8') === source
  const files = Object.entries(last.files)
    .filter(([file, { source }]) => isSame(file, source))
    .map(([file, { mutants, ...rest }]) => {
      const noticed = mutants.filter(({ status }) => ['Killed', 'Timeout'].includes(status))
      return [file, { ...rest, mutants: noticed }]
    })
  writeFileSync(path, JSON.stringify({ ...last, files: Object.fromEntries(files) }))
}

function configOf(name: string, files: readonly string[], report: string) {
  return {
    mutate: files,
    testRunner: 'warm',
    plugins: ['./test/mutate/warm-runner.ts', './test/mutate/texts.ts', './test/mutate/living.ts'],
    ignorers: ['texts'],
    coverageAnalysis: 'perTest',
    concurrency: Number(values.jobs),
    timeoutMS: 300_000,
    dryRunTimeoutMinutes: 60,
    // TypeScript 7 has no API with which Stryker could rewrite a tsconfig.json; the tests need none.
    tsconfigFile: 'none',
    tempDirName: `.dev/mutate/${name}`,
    ignorePatterns: ['.dev', 'dist', 'docs/*.png', 'test/mutate/node_modules'],
    reporters: ['json', 'progress-append-only', 'living'],
    incremental: true,
    incrementalFile: `.dev/mutate/${name}.last.json`,
    force: values.fresh,
    jsonReporter: { fileName: report },
    warnings: { slow: false },
    allowConsoleColors: false,
  }
}

/** @returns whether enough are killed, and all others explained */
function tell({ name, area, files, isWhole }: Run, mutants: readonly Mutant[]): boolean {
  const score = scoreOf(name, mutants)
  const explanations = existsSync(area.survivors)
    ? parseExplanations(readFileSync(area.survivors, 'utf8'))
    : []
  const own = explanations.filter(({ file }) => files.includes(file))
  const { unexplained, stale } = compare(mutants, own)
  const gone = isWhole ? explanations.filter(({ file }) => !files.includes(file)) : []
  for (const { file, lineNumber, line, from, to } of unexplained) {
    process.stdout.write(`${file}:${lineNumber} ${JSON.stringify({ line, from, to })}\n`)
  }
  for (const what of [...stale, ...gone.map(({ file }) => file)]) {
    process.stdout.write(`${area.survivors}: no such mutant lives on: ${what}\n`)
  }
  const percent = score.percent.toFixed(1)
  process.stdout.write(`${name}: ${score.mutants} mutants, ${percent} % noticed, `)
  process.stdout.write(`${unexplained.length} of ${score.survived} that live on unexplained\n`)
  if (values.write && isWhole) writeFileSync(PAGE, withScore(readFileSync(PAGE, 'utf8'), score))
  const isEnough = !isWhole || score.percent >= PERCENT_MIN
  return isEnough && unexplained.length === 0 && stale.length === 0 && gone.length === 0
}
