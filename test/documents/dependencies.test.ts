import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

/** What the lock files let npm install: from the registry alone, by its digest, and nothing of it runs. */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const LOCKS = execFileSync('git', ['ls-files', '*package-lock.json'], {
  cwd: ROOT,
  encoding: 'utf8',
})
  .trim()
  .split('\n')

interface Entry {
  readonly version?: string
  readonly resolved?: string
  readonly integrity?: string
  readonly license?: string
  readonly link?: boolean
  readonly hasInstallScript?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** What would run when it is installed, and why nothing is missing if it does not. */
const INSTALL_SCRIPTS: Readonly<Record<string, string>> = {
  '@alicloud/openapi-core':
    'chooses type declarations for an old compiler; nothing here compiles it',
  esbuild:
    'puts its program in the place of a script that looks for it at each start; the script works too',
  koffi:
    'compiles its module if none is there for this machine; it comes in @koromix/koffi-linux-*',
}

const LICENCES = ['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'CC0-1.0', 'ISC', 'MIT']
/** For development alone: none of it is in what is shipped, which test/packages/shipped.test.ts looks at. */
const LICENCES_OF_TOOLS = [
  '(BSD-2-Clause OR MIT OR Apache-2.0)',
  'Apache License 2.0',
  'BlueOak-1.0.0',
  'CC-BY-4.0',
  'MIT OR Apache-2.0',
  'MPL-2.0',
]

const jsonOf = (file: string) => JSON.parse(readFileSync(join(ROOT, file), 'utf8'))
const nameOf = (path: string) => path.replace(/^.*node_modules\//, '')

/** What comes from elsewhere, by where it is put. */
function fetchedBy(lock: string): [path: string, entry: Entry][] {
  const { packages }: { packages: Record<string, Entry> } = jsonOf(lock)
  return Object.entries(packages).filter(
    ([path, { link }]) => path.includes('node_modules/') && link !== true,
  )
}

test('the lock files are found', () => {
  expect(LOCKS).toContain('package-lock.json')
})

test.each(LOCKS)('%s: each package is held by a digest', (lock) => {
  const fetched = fetchedBy(lock)
  expect(fetched.length).toBeGreaterThan(0)
  const without = fetched.filter(([, entry]) => !/^sha512-/.test(entry.integrity ?? ''))
  expect(without.map(([path]) => path)).toEqual([])
})

test.each(LOCKS)('%s: each package comes from the registry, none from git or a URL', (lock) => {
  const fetched = fetchedBy(lock)
  const elsewhere = fetched.filter(
    ([, { version, resolved }]) =>
      !/^\d+\.\d+\.\d+(-[\w.]+)?(\+[\w.]+)?$/.test(version ?? '') ||
      // Left out of what npm takes from the registry that it is set to.
      resolved !== undefined,
  )
  expect(elsewhere.map(([path]) => path)).toEqual([])
  const wanted = fetched.flatMap(([, entry]) =>
    Object.entries({ ...entry.dependencies, ...entry.optionalDependencies }),
  )
  // An alias, npm:NAME@RANGE, is of the registry too.
  const urls = wanted.filter(([, range]) => /^(?!npm:).*[:/]/.test(range))
  expect(urls).toEqual([])
})

test.each(LOCKS)('%s: what is depended on is one version each', (lock) => {
  const { dependencies, devDependencies, optionalDependencies } = jsonOf(
    join(dirname(lock), 'package.json'),
  )
  const direct = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })
  expect(direct.filter(([, range]) => !/^\d+\.\d+\.\d+$/.test(String(range)))).toEqual([])
})

test.each(LOCKS)('%s: nothing runs when it is installed, and only what is known would', (lock) => {
  const would = fetchedBy(lock).filter(([, entry]) => entry.hasInstallScript === true)
  const unknown = would.map(([path]) => nameOf(path)).filter((name) => !(name in INSTALL_SCRIPTS))
  expect(unknown).toEqual([])
})

test('npm runs no script of a package, also for whoever types npm ci', () => {
  expect(existsSync(join(ROOT, '.npmrc'))).toBe(true)
  expect(readFileSync(join(ROOT, '.npmrc'), 'utf8')).toMatch(/^ignore-scripts=true$/m)
  const dev = readFileSync(join(ROOT, 'dev'), 'utf8')
  const installing = dev.split('\n').filter((line) => /^ *(npm )?ci --/.test(line))
  expect(installing.length).toBeGreaterThan(1)
  for (const line of installing) expect(line).toContain('--ignore-scripts')
})

test.each(LOCKS)('%s: each licence is one of those that are known', (lock) => {
  const known = [...LICENCES, ...LICENCES_OF_TOOLS]
  const unknown = fetchedBy(lock).filter(([, { license }]) => !known.includes(license ?? ''))
  expect(unknown.map(([path, { license }]) => `${path}: ${license}`)).toEqual([])
})

test('docs/dependencies.md lists what is in either package, each by the version of the lock file', () => {
  const page = readFileSync(join(ROOT, 'docs/dependencies.md'), 'utf8')
  const [head = '', , ...rows] = page.split('\n').filter((line) => line.startsWith('|'))
  const cells = (line: string) => line.split('|').map((cell) => cell.trim())
  expect(cells(head).slice(4, 6)).toEqual(['metabind', 'metabind-registrar'])
  const listed = rows.map(cells).filter((row) => row.length === 7)
  const locked = fetchedBy('package-lock.json').map(
    ([path, { version }]) => `${nameOf(path)} ${version}`,
  )
  for (const [, name, version, , ...shipped] of listed) {
    expect(locked, name).toContain(`${name} ${version}`)
    expect(shipped.slice(0, 2), name).toContain('yes')
  }
  const inRegistrar = listed.filter((row) => row[5] === 'yes').map(([, name]) => name)
  const inAgent = listed.filter((row) => row[4] === 'yes').map(([, name]) => name)
  expect([inAgent.includes('pg'), inRegistrar.includes('pg')]).toEqual([false, true])
})
