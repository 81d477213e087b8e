import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { build, type Plugin } from 'esbuild'

/** The programs as one file each, readable, and beside them the one native module, koffi.node. */
export interface Bundle {
  /** Folders of the npm packages whose code is in there, relative to the project. */
  readonly packages: readonly string[]
}

const require = createRequire(import.meta.url)

const PROGRAMS = { metabindd: 'src/daemon.ts', metabind: 'src/cli.ts' }

const SHIM = `
const shim = { exports: {} }
process.dlopen(shim, require('node:path').join(__dirname, 'koffi.node'))
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

/** Writes metabind.cjs and metabindd.cjs into `directory`. The same sources give the same bytes. */
export async function bundle(directory: string): Promise<Bundle> {
  const { metafile, outputFiles } = await build({
    entryPoints: PROGRAMS,
    outdir: directory,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node26',
    charset: 'utf8',
    legalComments: 'none',
    metafile: true,
    write: false,
    plugins: [koffiBeside],
  })
  for (const { path, text } of outputFiles) {
    // Nobody starts these as scripts; the wrappers name the runtime.
    writeFileSync(join(directory, basename(path)), text.replace(/^#!.*\n/, ''))
  }
  const folders = Object.keys(metafile.inputs)
    .map((input) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0])
    .filter((folder) => folder !== undefined)
  return { packages: [...new Set(folders)].sort() }
}
