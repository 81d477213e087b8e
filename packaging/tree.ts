import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { bundle } from './bundle.ts'
import { bashCompletion, fishCompletion, zshCompletion } from './completions.ts'
import { configKeys, configReference } from './config-reference.ts'
import { readCommand, readHelp } from './help-text.ts'
import { allLicences, type Component, components, copyrightFile } from './licences.ts'
import { commandPage, configPage, daemonPage } from './manual.ts'
import type { Release } from './release.ts'
import { type Architecture, lockedVersion, nodeLicence, placeRuntime } from './runtime.ts'
import { type RuntimePart, runtimeParts } from './runtime-parts.ts'
import { sbom } from './sbom.ts'

/** The files of a package as they will be installed, but for what differs between the formats. */
export interface Tree {
  readonly directory: string
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
const DOCUMENTS = ['README.md', 'SECURITY.md', 'ARCHITECTURE.md']

/** Lays out a package of one architecture under `directory`. */
export async function layTree(
  release: Release,
  architecture: Architecture,
  directory: string,
  zshFolder: string,
): Promise<Tree> {
  const at = (path: string) => join(directory, path)
  const put = (path: string, text: string | Uint8Array, mode = 0o644) => {
    mkdirSync(dirname(at(path)), { recursive: true })
    writeFileSync(at(path), text)
    chmodSync(at(path), mode)
  }
  const read = (path: string) => readFileSync(join(release.root, path), 'utf8')

  mkdirSync(at(LIBRARY), { recursive: true })
  placeRuntime(architecture, at(LIBRARY), release.cache)
  const { packages } = await bundle(at(LIBRARY))
  put('usr/bin/metabind', read('packaging/metabind.sh'), 0o755)
  put('usr/sbin/metabindd', read('packaging/metabindd.sh'), 0o755)

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

  const documents = 'usr/share/doc/metabind'
  for (const file of DOCUMENTS) put(`${documents}/${file}`, read(file))
  cpSync(join(release.root, 'docs'), at(`${documents}/docs`), { recursive: true })
  for (const example of ['executable-rules.conf', 'loopback-listeners.conf']) {
    put(`${documents}/examples/${example}`, read(`systemd/${example}`))
  }
  const parts = partsOf(release, architecture, packages)
  const node = nodePart(release, architecture)
  const compiledIn = partsOfNode(node.version)
  put(`${documents}/metabind.cdx.json`, sbom(release, parts, { node, parts: compiledIn }))
  // Whatever the umask of the checkout was.
  execFileSync('chmod', ['-R', 'u=rwX,go=rX', directory])
  return {
    directory,
    runtime: `${LIBRARY}/bin/node`,
    copyright: copyrightFile(parts, node, compiledIn),
    licence: allLicences(
      ['Apache-2.0', node.licence].concat([...parts, ...compiledIn].map(({ licence }) => licence)),
    ),
    configFiles: Object.keys(CONFIG_FILES).map((path) => `/${path}`),
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

function isoDate(epoch: number): string {
  return new Date(epoch * 1000).toISOString().slice(0, 10)
}
