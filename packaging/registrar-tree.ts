import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { bundleRegistrar } from './bundle.ts'
import { readHelp } from './help-text.ts'
import { bashCompletion, fishCompletion, zshCompletion } from './registrar-completions.ts'
import { commandPage, configPage, configRows } from './registrar-manual.ts'
import type { Release } from './release.ts'
import { type Architecture, placeRuntime } from './runtime.ts'
import { finished, isoDate, placing, putDocuments, type Tree } from './tree.ts'
import { readWrapper } from './wrapper.ts'

const NAME = 'metabind-registrar'
const LIBRARY = `usr/lib/${NAME}`
const SOURCES = 'packaging/registrar'
const CONFIG_FILE = 'etc/metabind/registrar.toml'

/** Lays out the registrar's package of one architecture under `directory`. */
export async function layRegistrarTree(
  release: Release,
  architecture: Architecture,
  directory: string,
  zshFolder: string,
): Promise<Tree> {
  const { at, put, read } = placing(release, directory)
  mkdirSync(at(LIBRARY), { recursive: true })
  placeRuntime(architecture, at(LIBRARY), release.cache)
  const { packages } = await bundleRegistrar(at(LIBRARY))
  put(`usr/sbin/${NAME}`, readWrapper(release.root, `${SOURCES}/${NAME}.sh`), 0o755)
  put(`usr/lib/systemd/system/${NAME}.service`, read(`${SOURCES}/${NAME}.service`))
  put(`usr/lib/sysusers.d/${NAME}.conf`, read(`${SOURCES}/${NAME}.sysusers`))
  put(CONFIG_FILE, read(`${SOURCES}/registrar.toml`))

  // Read before anything native is loaded: the help of a package for another architecture, too.
  const help = readHelp(process.execPath, join(at(LIBRARY), `${NAME}.cjs`))
  const pages = fleetPages(release.root)
  const heading = { ...release, date: isoDate(release.epoch) }
  const manuals = {
    [`man8/${NAME}.8`]: commandPage(help, heading),
    [`man5/${NAME}.toml.5`]: configPage(configRows(pages), heading),
  }
  for (const [name, text] of Object.entries(manuals)) {
    put(`usr/share/man/${name}.gz`, gzipSync(text, { level: 9 }))
  }
  put(`usr/share/bash-completion/completions/${NAME}`, bashCompletion(help))
  put(`${zshFolder}/_${NAME}`, zshCompletion(help))
  put(`usr/share/fish/vendor_completions.d/${NAME}.fish`, fishCompletion(help))
  putDocuments(release, directory, NAME)
  return {
    ...finished(NAME, release, architecture, directory, packages),
    debian: SOURCES,
    spec: `${SOURCES}/${NAME}.spec`,
    configFiles: [`/${CONFIG_FILE}`],
  }
}

/** The pages that are about the registrar. */
export function fleetPages(root: string): string[] {
  const names = readdirSync(join(root, 'docs')).filter((name) => /^fleet.*\.md$/.test(name))
  return names.sort().map((name) => readFileSync(join(root, 'docs', name), 'utf8'))
}
