import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { COUNTERS, instrumenting } from './instrument.ts'

/**
 * jazzer.js, which is libFuzzer inside of Node: the target as one file of CommonJS, with a counter at each
 * edge, and what it compares as words to try.
 */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const JAZZER = join(ROOT, 'test/fuzz/node_modules/@jazzer.js/core/dist/cli.js')
// Of one input. The first ends what hangs; bounds of CPU time are in entry.ts.
const TIMEOUT_MS = 30_000
const RSS_MB_MAX = 1024
/** Not looked into: they are not what reads hostile bytes first, and their edges would hide those of ours. */
const NOT_COUNTED = ['zod', 'koffi', 'fastify', 'undici', 'pino', 'prom-client']

/** What one run of the fuzzer says of itself. */
export interface Figures {
  readonly executions: number
  readonly seconds: number
  readonly cpuSeconds: number
  /** Edges of the program that some input reached. */
  readonly edges: number
  /** Edges by how often they were passed, and comparisons by how far they agreed: what libFuzzer goes by. */
  readonly features: number
  readonly inputs: number
  readonly rssMb: number
  /** The last lines of a run that ended with a finding. */
  readonly finding?: string
}

export interface Run {
  /** With `corpus/` and `crashes/`. */
  readonly folder: string
  readonly seconds: number
  readonly bytesMax: number
  readonly words: readonly string[]
  readonly isAsync: boolean
}

/** @returns the path of the program for the fuzzer, in the folder */
export async function bundleTarget(target: string, folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true })
  const outfile = join(folder, 'program.cjs')
  const { plugin, edges } = instrumenting()
  const { outputFiles } = await build({
    stdin: {
      contents: `import { target } from './targets/${target}.ts'
        import { fuzzFunction } from './entry.ts'
        export const fuzz = fuzzFunction(target)`,
      resolveDir: join(ROOT, 'test/fuzz'),
      loader: 'ts',
    },
    ...{ outfile, bundle: true, platform: 'node', target: 'node26', format: 'cjs', write: false },
    external: NOT_COUNTED,
    plugins: [plugin],
    // None of them looks for files beside it.
    define: { 'import.meta.url': JSON.stringify(import.meta.url) },
    banner: { js: COUNTERS },
    logLevel: 'error',
  })
  const room = `Fuzzer.coverageTracker.enlargeCountersBufferIfNeeded(${edges()})\n`
  writeFileSync(outfile, room + (outputFiles[0]?.text ?? ''))
  return outfile
}

/** Runs the fuzzer until the time is up, or something is found. */
export async function fuzz(program: string, run: Run, signal: AbortSignal): Promise<Figures> {
  const crashes = join(run.folder, 'crashes/')
  mkdirSync(crashes, { recursive: true })
  const dictionary = join(run.folder, 'words')
  writeFileSync(
    dictionary,
    run.words
      .filter((word) => word !== '')
      .map((word) => `${quoted(word)}\n`)
      .join(''),
  )
  const options = [
    ...[`-max_total_time=${run.seconds}`, `-max_len=${run.bytesMax}`, `-dict=${dictionary}`],
    ...[`-artifact_prefix=${crashes}`, `-rss_limit_mb=${RSS_MB_MAX}`, '-print_final_stats=1'],
    ...['-reload=0', '-verbosity=1', '-use_value_profile=0'],
  ]
  const began = performance.now()
  const mode = run.isAsync ? [] : ['--sync']
  const paths = [program, join(run.folder, 'corpus'), ...mode]
  const { text, code } = await jazzer(paths, options, {}, signal)
  const seconds = (performance.now() - began) / 1000
  const figures = figuresOf(text, seconds)
  // It ends well also if it cannot begin.
  if (figures.executions === 0 && !signal.aborted) throw new Error(text.slice(-4000))
  return code === 0 || signal.aborted ? figures : { ...figures, finding: text.slice(-4000) }
}

/** Has the inputs of a folder that are enough to reach everything written to `FOLDER.smallest`. */
export async function smallest(program: string, folder: string): Promise<void> {
  const { text, code } = await jazzer([program], ['-runs=1'], { FUZZ_SMALLEST: folder })
  if (code !== 0 || !existsSync(`${folder}.smallest`)) throw new Error(text.slice(-4000))
}

async function jazzer(
  paths: readonly string[],
  options: readonly string[],
  environment: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<{ text: string; code: number | null }> {
  // Bundles are instrumented already.
  const own = ['--dry_run', '--disable_bug_detectors', '.*', '--timeout', String(TIMEOUT_MS)]
  const [program = '', ...args] = [...loader(), process.execPath, '--no-deprecation', JAZZER]
  // A file, as Node does not wait for a full pipe, and the fuzzer's words would be lost.
  const logPath = `${paths[0]}.log`
  const log = openSync(logPath, 'w')
  const child = spawn(program, [...args, ...paths, ...own, '--', ...options], {
    stdio: ['ignore', log, log],
    // Programs lie in the folder of the state, which may be anywhere.
    env: { ...process.env, NODE_PATH: join(ROOT, 'node_modules'), ...environment },
    ...(signal === undefined ? {} : { signal, killSignal: 'SIGKILL' }),
  })
  closeSync(log)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) => (error.name === 'AbortError' ? undefined : reject(error)))
    child.once('close', resolve)
  })
  return { text: readFileSync(logPath, 'latin1'), code }
}

/** The fuzzer's compiled part wants glibc 2.38: `./dev` names the folder of one if the system's is older. */
function loader(): string[] {
  const root = process.env.FUZZ_LIBRARIES
  if (root === undefined) return []
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const folder = join(root, `usr/lib/${machine}-linux-gnu`)
  const name = process.arch === 'arm64' ? 'ld-linux-aarch64.so.1' : 'ld-linux-x86-64.so.2'
  return [join(folder, name), '--library-path', folder]
}

function figuresOf(text: string, seconds: number): Figures {
  const last = [...text.matchAll(/^#(\d+)\s.* cov: (\d+) ft: (\d+) corp: (\d+)\//gm)].at(-1) ?? []
  const [, executions, edges, features, inputs] = last.map(Number)
  const stat = (name: string) =>
    Number(new RegExp(`^stat::${name}:\\s+([\\d.]+)`, 'm').exec(text)?.[1] ?? 0)
  const done = Number(/^Done (\d+) runs/m.exec(text)?.[1] ?? 0)
  return {
    executions: Math.max(executions ?? 0, stat('number_of_executed_units'), done),
    seconds,
    cpuSeconds: stat('cpu_seconds'),
    edges: edges ?? 0,
    features: features ?? 0,
    inputs: inputs ?? 0,
    rssMb: stat('peak_rss_mb'),
  }
}

/** As libFuzzer's dictionaries have it. */
function quoted(word: string): string {
  const escaped = Buffer.from(word)
    .toString('latin1')
    .replace(
      /[^ !#-[\]-~]/g,
      (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )
  return `"${escaped}"`
}
