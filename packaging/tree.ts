import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { bundle } from './bundle.ts'
import { bashCompletion, fishCompletion, zshCompletion } from './completions.ts'
import { configKeys, configReference } from './config-reference.ts'
import { DOCUMENTS } from './documents.ts'
import { readCommand, readHelp } from './help-text.ts'
import { allLicences, type Component, components, copyrightFile } from './licences.ts'
import { commandPage, configPage, daemonPage } from './manual.ts'
import type { Release } from './release.ts'
import { type Architecture, lockedVersion, nodeLicence, placeRuntime } from './runtime.ts'
import { type RuntimePart, runtimeParts } from './runtime-parts.ts'
import { sbom } from './sbom.ts'
import { readWrapper } from './wrapper.ts'

/** The files of a package as they will be installed, but for what differs between the formats. */
export interface Tree {
  /** Of the package. */
  readonly name: string
  readonly directory: string
  /** The folder of Debian's files in the project, and the spec file. */
  readonly debian: string
  readonly spec: string
  readonly copyright: string
  /** Of everything in it, as an SPDX expression. */
  readonly licence: string
  /** Where Node.js is in there. */
  readonly runtime: string
  /** Absolute names of configuration files. */
  readonly configFiles: readonly string[]
}

const LIBRARY = 'usr/lib/metabind'
const UNITS = [
  'metabindd.service',
  'metabind.socket',
  'metabind-admin.socket',
  'metabind-metrics.socket',
  'metabind-credentials-uri.socket',
  'metabind-containers.socket',
  'metabind-containers-observe.socket',
  'metabind-lockdown.service',
]
/**
 * What belongs to the administrator once it is installed. The same in every version, so that no upgrade asks
 * about a file that was changed: what changes is the reference under /usr/share/metabind.
 */
const CONFIG_FILES: Readonly<Record<string, string>> = {
  'etc/metabind/metabind.toml': 'packaging/etc/metabind.toml',
  'etc/metabind/policy.toml': 'packaging/etc/policy.toml',
  'etc/logrotate.d/metabind': 'packaging/etc/logrotate',
}

/** Lays out a package of one architecture under `directory`. */
export async function layTree(
  release: Release,
  architecture: Architecture,
  directory: string,
  zshFolder: string,
): Promise<Tree> {
  const { at, put, read } = placing(release, directory)
  mkdirSync(at(LIBRARY), { recursive: true })
  placeRuntime(architecture, at(LIBRARY), release.cache)
  const { packages } = await bundle(at(LIBRARY))
  put('usr/bin/metabind', readWrapper(release.root, 'packaging/metabind.sh'), 0o755)
  put('usr/sbin/metabindd', readWrapper(release.root, 'packaging/metabindd.sh'), 0o755)

  for (const unit of UNITS) {
    put(`usr/lib/systemd/system/${unit}`, read(`systemd/${unit}`))
  }
  put('usr/lib/sysusers.d/metabind.conf', read('systemd/metabind.sysusers'))
  put('usr/lib/tmpfiles.d/metabind.conf', read('systemd/metabind.tmpfiles'))

  for (const [path, source] of Object.entries(CONFIG_FILES)) put(path, read(source))
  const page = read('docs/configuration.md')
  put('usr/share/metabind/metabind.toml', configReference(page, release.version))
  put('usr/share/metabind/policy.toml', read('packaging/policy.toml'))

  const command = readCommandOf(at(LIBRARY), release)
  const heading = { ...release, date: isoDate(release.epoch) }
  const pages = {
    'man1/metabind.1': commandPage(command.cli, heading),
    'man8/metabindd.8': daemonPage(command.daemonHelp, heading),
    'man5/metabind.toml.5': configPage(configKeys(page), heading),
  }
  for (const [name, text] of Object.entries(pages)) {
    put(`usr/share/man/${name}.gz`, gzipSync(text, { level: 9 }))
  }
  put('usr/share/bash-completion/completions/metabind', bashCompletion(command.cli))
  put(`${zshFolder}/_metabind`, zshCompletion(command.cli))
  put('usr/share/fish/vendor_completions.d/metabind.fish', fishCompletion(command.cli))

  putDocuments(release, directory, 'metabind')
  for (const example of ['executable-rules.conf', 'loopback-listeners.conf', 'registrar.conf']) {
    put(`usr/share/doc/metabind/examples/${example}`, read(`systemd/${example}`))
  }
  return {
    ...finished('metabind', release, architecture, directory, packages),
    debian: 'packaging/debian',
    spec: 'packaging/rpm/metabind.spec',
    configFiles: Object.keys(CONFIG_FILES).map((path) => `/${path}`),
  }
}

/** How the files of a package get to their places. */
export function placing(release: Release, directory: string) {
  const at = (path: string) => join(directory, path)
  const put = (path: string, text: string | Uint8Array, mode = 0o644) => {
    mkdirSync(dirname(at(path)), { recursive: true })
    writeFileSync(at(path), text)
    chmodSync(at(path), mode)
  }
  const read = (path: string) => readFileSync(join(release.root, path), 'utf8')
  return { at, put, read }
}

/** The pages of the project, whose links lead to one another. */
export function putDocuments(release: Release, directory: string, name: string): void {
  const { at, put, read } = placing(release, directory)
  const documents = `usr/share/doc/${name}`
  for (const file of DOCUMENTS) put(`${documents}/${file}`, read(file))
  cpSync(join(release.root, 'docs'), at(`${documents}/docs`), { recursive: true })
}

/** Writes what it contains, as the last file. @returns what is the same for every package with a bundle and a runtime */
export function finished(
  name: string,
  release: Release,
  architecture: Architecture,
  directory: string,
  packages: readonly string[],
): Pick<Tree, 'name' | 'directory' | 'runtime' | 'copyright' | 'licence'> {
  const { put } = placing(release, directory)
  const parts = partsOf(release, architecture, packages)
  const node = nodePart(release, architecture)
  const compiledIn = partsOfNode(node.version)
  const document = sbom(release, parts, { node, parts: compiledIn }, name)
  put(`usr/share/doc/${name}/${name}.cdx.json`, document)
  // Whatever the umask of the checkout was.
  execFileSync('chmod', ['-R', 'u=rwX,go=rX', directory])
  return {
    name,
    directory,
    runtime: `usr/lib/${name}/bin/node`,
    copyright: copyrightFile(parts, node, compiledIn, name),
    licence: allLicences(
      ['Apache-2.0', node.licence].concat([...parts, ...compiledIn].map(({ licence }) => licence)),
    ),
  }
}

/** koffi's native module is of a package of its own, with koffi's licence. */
function partsOf(
  release: Release,
  architecture: Architecture,
  folders: readonly string[],
): Component[] {
  const parts = components(release.root, folders)
  const koffi = parts.find(({ name }) => name === 'koffi')
  if (koffi === undefined) throw new Error('the bundle has no koffi')
  return [...parts, { ...koffi, name: architecture.koffi }]
}

function nodePart(release: Release, architecture: Architecture): Component {
  const text = nodeLicence(architecture, release.cache)
  const version = lockedVersion(architecture.node)
  return { name: architecture.node, version, licence: 'MIT', text }
}

/** One release of Node is compiled of the same parts for every architecture. */
function partsOfNode(shipped: string): RuntimePart[] {
  const { node } = process.versions
  if (node !== shipped)
    throw new Error(`built by Node ${node}, which is not the shipped ${shipped}`)
  return runtimeParts(process.versions)
}

/** The bundle speaks for itself; only for another architecture the agent's sources must do. */
function readCommandOf(library: string, release: Release) {
  return {
    cli: readCommand(process.execPath, join(library, 'metabind.cjs')),
    daemonHelp: readHelp(process.execPath, join(release.root, 'src/daemon.ts')),
  }
}

/** YYYY-MM-DD */
export function isoDate(epoch: number): string {
  return new Date(epoch * 1000).toISOString().slice(0, 10)
}
