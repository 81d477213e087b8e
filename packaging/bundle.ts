import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { type BuildOptions, build, type Plugin, transform } from 'esbuild'
import { type PageFiles, pageFiles } from '../src/admin/page-files.ts'

/** The programs, readable, and beside them the one native module, koffi.node. */
export interface Bundle {
  /** Folders of the npm packages whose code is in there, relative to the project. */
  readonly packages: readonly string[]
}

const require = createRequire(import.meta.url)

const PARTS = 'parts'
const SHIM = `
const { basename, dirname, join } = require('node:path')
const shim = { exports: {} }
process.dlopen(shim, join(basename(__dirname) === '${PARTS}' ? dirname(__dirname) : __dirname, 'koffi.node'))
module.exports = shim.exports
`

/**
 * koffi finds its native module by looking through node_modules at run time, which esbuild does not
 * see: the bundle would work here and nowhere else. So its CommonJS entry is taken, which has a
 * plain require for each platform, and that is answered with the module beside the bundle.
 */
const koffiBeside: Plugin = {
  name: 'koffi-beside',
  setup(bundler) {
    bundler.onResolve({ filter: /^koffi$/ }, () => ({ path: require.resolve('koffi') }))
    bundler.onResolve({ filter: /^@koromix\/koffi-/ }, ({ path }) => ({
      path,
      namespace: 'koffi-beside',
    }))
    bundler.onLoad({ filter: /.*/, namespace: 'koffi-beside' }, () => ({ contents: SHIM }))
  },
}

/**
 * Of undici the agent uses the pool of connections alone. Its entry loads fetch, WebSocket, caches and mocks as well,
 * which would be a quarter of the agent's code.
 */
const undiciPool: Plugin = {
  name: 'undici-pool',
  setup(bundler) {
    bundler.onResolve({ filter: /^undici$/ }, ({ resolveDir }) => ({
      path: resolveDir,
      namespace: 'undici-pool',
    }))
    bundler.onLoad({ filter: /.*/, namespace: 'undici-pool' }, ({ path }) => ({
      // As its entry does: a dispatcher has no methods of its own to ask with.
      contents: `import Dispatcher from 'undici/lib/dispatcher/dispatcher.js'
import api from 'undici/lib/api/index.js'
Object.assign(Dispatcher.prototype, api)
export { default as Pool } from 'undici/lib/dispatcher/pool.js'
export { default as errors } from 'undici/lib/core/errors.js'`,
      resolveDir: path,
    }))
  },
}

/** The status page as texts in the agent: there it reads no file for it, and has no bundler. */
const pageInside = (files: PageFiles): Plugin => ({
  name: 'page-inside',
  setup(bundler) {
    bundler.onLoad({ filter: /\/src\/admin\/page-files\.ts$/ }, () => ({
      contents: `export const pageFiles = async () => (${JSON.stringify({ ...files, inputs: [] })})`,
    }))
  },
})

const OPTIONS = {
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  target: 'node26',
  charset: 'utf8',
  legalComments: 'none',
  metafile: true,
  write: false,
} as const satisfies BuildOptions

/**
 * Writes metabindd.cjs, and metabind.cjs with what its verbs load below parts/, into `directory`. The same sources
 * give the same bytes.
 */
export async function bundle(directory: string): Promise<Bundle> {
  const page = await pageFiles()
  const daemon = await build({
    ...OPTIONS,
    plugins: [koffiBeside, undiciPool, pageInside(page)],
    entryPoints: { metabindd: 'src/daemon.ts' },
    outdir: directory,
    format: 'cjs',
  })
  // esbuild splits ES modules only. They are made CommonJS afterwards, as a program of ES modules that
  // imports node:http has all of Node's fetch and WebSocket loaded.
  const command = await build({
    ...OPTIONS,
    plugins: [koffiBeside],
    entryPoints: { metabind: 'src/cli.ts' },
    outdir: directory,
    format: 'esm',
    splitting: true,
    chunkNames: `${PARTS}/[name]-[hash]`,
  })
  for (const { path, text } of daemon.outputFiles) put(path, text)
  for (const { path, text } of command.outputFiles) put(path, await asCommonJs(text))
  const built = [daemon, command].flatMap(({ metafile }) => Object.keys(metafile.inputs))
  return { packages: [...new Set(foldersOf([...built, ...page.inputs]))].sort() }
}

/** Writes metabind-registrar.cjs into `directory`. The same sources give the same bytes. */
export async function bundleRegistrar(directory: string): Promise<Bundle> {
  const registrar = await build({
    ...OPTIONS,
    plugins: [koffiBeside],
    entryPoints: { 'metabind-registrar': 'src/registrar.ts' },
    outdir: directory,
    format: 'cjs',
  })
  for (const { path, text } of registrar.outputFiles) put(path, text)
  return { packages: [...new Set(foldersOf(Object.keys(registrar.metafile.inputs)))].sort() }
}

/** Nobody starts these as scripts; the wrappers name the runtime. */
function put(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text.replace(/^#!.*\n/, ''))
}

async function asCommonJs(text: string): Promise<string> {
  const { code } = await transform(text, {
    format: 'cjs',
    platform: 'node',
    target: 'node26',
    charset: 'utf8',
    // import() becomes require(): the files are small, and beside this one.
    supported: { 'dynamic-import': false },
  })
  return code
}

function foldersOf(inputs: readonly string[]): string[] {
  return inputs
    .map((input) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0])
    .filter((folder) => folder !== undefined)
}
