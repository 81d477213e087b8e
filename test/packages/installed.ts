import { execFile, execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** The npm tarballs as a stranger has them: installed in a folder that knows nothing of the project. */

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PEERS = ['@alicloud/credentials', '@types/node']
// What the tarballs name as `engines`, below the project's own.
const OLDER_NODE = /^v(20\.(19|[2-9]\d)|22\.(1[2-9]|[2-9]\d)|2[3-5]\.\d+)\./

interface Locked {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** Runs `./dev package --format npm`. @returns the names of the tarballs */
export async function packNpm(to: string, umask = 0o022): Promise<string[]> {
  const command = `umask ${umask.toString(8)} && exec "$0" "$@"`
  const args = [join(ROOT, 'packaging/package.ts'), '--format', 'npm', '--out', to]
  const { stdout } = await run('sh', ['-c', command, process.execPath, ...args])
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.slice(line.indexOf('  ') + 2))
}

/**
 * `npm install` of the tarballs and the consumer's own packages. There is no registry to ask: every
 * package that they need is given as a folder, so that a wrong version among their dependencies fails.
 */
export async function installTarballs(
  tarballs: Readonly<Record<string, string>>,
  to: string,
): Promise<void> {
  const wanted = Object.values(tarballs).flatMap((file) => Object.keys(dependenciesOf(file)))
  const folders = withDependencies([...wanted, ...PEERS]).map((name) => [name, moduleFolder(name)])
  const dependencies = Object.fromEntries(
    [...Object.entries(tarballs), ...folders].map(([name, path]) => [name, `file:${path}`]),
  )
  mkdirSync(to)
  const overrides = { '@types/node': '$@types/node' }
  writeFileSync(join(to, 'package.json'), JSON.stringify({ dependencies, overrides }))
  const offline = ['--offline', '--cache', join(to, '.npm'), '--install-links']
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  await run('npm', ['install', ...offline, ...quiet], { cwd: to })
}

function dependenciesOf(tarball: string): Readonly<Record<string, string>> {
  const text = execFileSync('tar', ['-xOzf', tarball, 'package/package.json'], { encoding: 'utf8' })
  return JSON.parse(text).dependencies
}

/** What is here of the packages and of all that they depend on. */
function withDependencies(names: readonly string[]): string[] {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
  const packages: Readonly<Record<string, Locked>> = lock.packages
  const found = new Set<string>()
  const add = (name: string): void => {
    if (found.has(name) || !existsSync(moduleFolder(name))) return
    found.add(name)
    const { dependencies, optionalDependencies } = packages[`node_modules/${name}`] ?? {}
    for (const next of Object.keys({ ...dependencies, ...optionalDependencies })) add(next)
  }
  for (const name of names) add(name)
  return [...found]
}

function moduleFolder(name: string): string {
  return join(ROOT, 'node_modules', name)
}

/**
 * Compiles the programs in consumer/ against what is installed in `directory`.
 *
 * @throws Error with what tsc complains about
 */
export async function compileConsumers(
  directory: string,
  resolution: string,
  options: object,
): Promise<void> {
  cpSync(join(ROOT, 'test/packages/consumer'), directory, { recursive: true })
  const compilerOptions = {
    target: 'es2022',
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    moduleResolution: resolution,
    ...options,
  }
  const project = join(directory, `${resolution}.json`)
  writeFileSync(project, JSON.stringify({ compilerOptions, include: ['*.mts', '*.cts'] }))
  const tsc = join(ROOT, 'node_modules/.bin/tsc')
  await run(tsc, ['-p', project], { cwd: directory }).catch((error) => {
    throw new Error(error.stdout, { cause: error })
  })
}

/** The machine's own Node, if it has one that the tarballs are for. */
export function olderNode(): string | undefined {
  const programs = (process.env.PATH ?? '').split(delimiter).map((path) => join(path, 'node'))
  return programs.find((program) => {
    if (!existsSync(program)) return false
    return OLDER_NODE.test(execFileSync(program, ['--version'], { encoding: 'utf8' }))
  })
}
