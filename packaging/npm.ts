import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Release } from './release.ts'

/** A package for other people's programs: JavaScript and declarations, a file for each of ours. */
interface Library {
  readonly name: string
  /** Where its package.json is, with exports that name .ts files. */
  readonly folder: string
  readonly readme: string
  /** What the readme refers to. */
  readonly documents: readonly string[]
}

const LIBRARIES: readonly Library[] = [
  {
    name: 'metabind',
    folder: '.',
    readme: 'packaging/npm/README.md',
    documents: ['docs/errors.md', 'docs/evidence.md', 'docs/verify.md'],
  },
  { name: 'tpm2-js', folder: 'native/tpm2-js', readme: 'native/tpm2-js/README.md', documents: [] },
]

// The project itself is run from TypeScript and wants a newer one. These are pkijs's bounds, from where
// on require() takes ES modules, too.
const NODE_VERSIONS = '^20.19.0 || >=22.12.0'

interface Manifest {
  readonly version: string
  readonly description: string
  readonly license: string
  readonly exports: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
}

/** Makes the npm tarballs. @returns their file names */
export function buildNpm(release: Release, work: string, output: string): string[] {
  return LIBRARIES.map((library) => {
    const directory = join(work, library.name, 'package')
    mkdirSync(directory, { recursive: true })
    compile(release, library, join(directory, 'lib'))
    const manifest = publicManifest(release, library, importedPackages(join(directory, 'lib')))
    writeFileSync(join(directory, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
    const copy = (from: string, to: string) => cpSync(join(release.root, from), join(directory, to))
    copy(library.readme, 'README.md')
    copy('LICENSE', 'LICENSE')
    for (const document of library.documents) copy(document, document)
    const name = `${library.name}-${manifest.version}.tgz`
    writeFileSync(join(output, name), tarball(join(work, library.name), release.epoch))
    return name
  })
}

function compile(release: Release, library: Library, to: string): void {
  const tsc = join(release.root, 'node_modules/.bin/tsc')
  const project = join(release.root, 'packaging/npm', `${library.name}.json`)
  execFileSync(tsc, ['-p', project, '--outDir', to], { stdio: ['ignore', 'inherit', 'inherit'] })
}

/** The package.json of users: that of the project speaks of its sources, tools and programs. */
function publicManifest(release: Release, library: Library, imported: readonly string[]) {
  const text = readFileSync(join(release.root, library.folder, 'package.json'), 'utf8')
  const { version, description, license, exports, dependencies }: Manifest = JSON.parse(text)
  const entries = Object.entries(exports).map(([name, path]) => [name, compiledPath(path)])
  return {
    name: library.name,
    version: library.folder === '.' ? release.version : version,
    description,
    license,
    author: release.maintainer,
    homepage: release.homepage,
    type: 'module',
    engines: { node: NODE_VERSIONS },
    exports: Object.fromEntries(entries),
    dependencies: Object.fromEntries(imported.map((name) => [name, pinned(dependencies, name)])),
    // The declarations name Buffer and others. A program in JavaScript does without.
    peerDependencies: { '@types/node': '>=20' },
    peerDependenciesMeta: { '@types/node': { optional: true } },
  }
}

function compiledPath(path: string): string {
  return path.replace(/^\.\/src\/(.+)\.ts$/, './lib/$1.js')
}

function pinned(dependencies: Manifest['dependencies'], name: string): string {
  const version = dependencies[name]
  if (version === undefined) throw new Error(`${name} is imported and no dependency`)
  return version
}

/** The packages that compiled files import. */
function importedPackages(directory: string): string[] {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  const names = files
    .filter((file) => file.endsWith('.js'))
    .map((file) => readFileSync(join(directory, file), 'utf8'))
    .flatMap((text) => [...text.matchAll(/(?:\bfrom|^import) '([@a-z][^']*)';$/gm)])
    .map(([, name = '']) => name)
  return [...new Set(names)].filter((name) => !name.startsWith('node:')).sort()
}

function tarball(directory: string, epoch: number): Uint8Array {
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX']
  const order = ['--format=ustar', '--sort=name', `--mtime=@${epoch}`]
  const tar = execFileSync('tar', [...order, ...owner, '-C', directory, '-cf', '-', 'package'], {
    maxBuffer: 1 << 26,
  })
  return gzipSync(tar, { level: 9 })
}
