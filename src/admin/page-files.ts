import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** The three files of the status page, as texts. */
export interface PageFiles {
  readonly html: string
  readonly script: string
  readonly style: string
  /** The sources of the script, and what of node_modules is in it: paths from the project's folder. */
  readonly inputs: readonly string[]
}

/**
 * Bundles the script of src/page/ and reads what stands beside it. In a package this module is another one, with
 * what this one gave when the package was built (packaging/bundle.ts): an installed agent reads no file for it.
 */
export async function pageFiles(): Promise<PageFiles> {
  const { build } = await import('esbuild')
  const folder = fileURLToPath(new URL('../page/', import.meta.url))
  const { outputFiles, metafile } = await build({
    entryPoints: [`${folder}main.ts`],
    absWorkingDir: fileURLToPath(new URL('../../', import.meta.url)),
    bundle: true,
    format: 'iife',
    target: 'es2022',
    charset: 'utf8',
    minify: true,
    legalComments: 'none',
    metafile: true,
    write: false,
  })
  return {
    html: await readFile(`${folder}page.html`, 'utf8'),
    script: outputFiles[0]?.text ?? '',
    style: await readFile(`${folder}page.css`, 'utf8'),
    inputs: Object.keys(metafile.inputs),
  }
}
