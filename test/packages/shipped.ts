import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * `shipped.ts SBOM LIBRARY`: whether the SBOM of a package has exactly the npm packages whose code is in its programs.
 * That is read from the programs themselves, and not from what was told when they were made.
 */

// esbuild says before each file of a bundle where it is from, and names CommonJS modules by it.
const ORIGIN = /^(?:\/\/ | *")((?:[\w./-]+\/)?node_modules\/(?:@[\w.-]+\/)?[\w.-]+)\//gm
/** What is in there minified, without a word of where it is from, by what nothing else has. */
const MARKS: Readonly<Record<string, string>> = { preact: 'dangerouslySetInnerHTML' }
/** What is there as files of its own. */
const FILES: Readonly<Record<string, RegExp>> = {
  'koffi.node': /^@koromix\/koffi-linux-(x64|arm64)$/,
  'bin/node': /^node-linux-(x64|arm64)$/,
}

interface Component {
  readonly name: string
  readonly version: string
  readonly purl: string
}

/** The names of the packages whose code is in programs. */
export function packagesIn(programs: readonly string[]): string[] {
  const origins = programs.flatMap((text) =>
    [...text.matchAll(ORIGIN)].map(([, from = '']) => from),
  )
  const named = origins.map((origin) => origin.replace(/^.*node_modules\//, ''))
  const marked = Object.keys(MARKS).filter((name) =>
    programs.some((text) => text.includes(MARKS[name] ?? name)),
  )
  return [...new Set([...named, ...marked])].sort()
}

/** What of an SBOM and the programs is in one of them only, in sentences. */
export function differences(sbom: string, programs: readonly string[], files: readonly string[]) {
  const { components }: { components: Component[] } = JSON.parse(sbom)
  const listed = components
    .map(({ purl }) => decodeURIComponent(/^pkg:npm\/(.+)@/.exec(purl)?.[1] ?? ''))
    .filter((name) => name !== '')
  const isFile = (name: string) => files.some((file) => FILES[file]?.test(name))
  const bundled = packagesIn(programs)
  const unlisted = files.filter((file) => !listed.some((name) => FILES[file]?.test(name)))
  return [
    ...bundled
      .filter((name) => !listed.includes(name))
      .map((name) => `${name} is in the programs, and not in the SBOM`),
    ...unlisted.map((file) => `${file} is installed, and not in the SBOM`),
    ...listed
      .filter((name) => !bundled.includes(name) && !isFile(name))
      .map((name) => `${name} is in the SBOM, and not in the programs`),
  ]
}

/** The programs of an installed library, as texts. */
export function programsIn(library: string): string[] {
  return readdirSync(library, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.cjs'))
    .map((file) => readFileSync(join(library, file), 'utf8'))
}

const [sbom, library] = process.argv.slice(2)
if (import.meta.main && sbom !== undefined && library !== undefined) {
  const files = Object.keys(FILES).filter((file) => existsSync(join(library, file)))
  const found = differences(readFileSync(sbom, 'utf8'), programsIn(library), files)
  for (const sentence of found) process.stderr.write(`${sentence}\n`)
  process.exitCode = found.length > 0 ? 1 : 0
}
