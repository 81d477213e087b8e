import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { buildDeb, ZSH_FOLDER as DEB_ZSH_FOLDER } from './deb.ts'
import { buildNpm } from './npm.ts'
import { type Release, readRelease } from './release.ts'
import { buildRpm, ZSH_FOLDER as RPM_ZSH_FOLDER } from './rpm.ts'
import { ARCHITECTURES, type Architecture } from './runtime.ts'
import { layTree } from './tree.ts'

/** `./dev package`: what strangers install, the same bytes from the same sources. */

const HELP = `Usage: ./dev package [OPTIONS]

  --arch NAME      amd64 or arm64, of DEB and RPM; can be repeated (default: both)
  --format NAME    deb, rpm or npm; can be repeated (default: all)
  --fast           compress little, for tests
  --version TEXT   instead of the version of package.json, for tests
  --out DIRECTORY  default dist/
`

// xz unpacks on every release that is named in docs/install.md; the others are quick to make.
const COMPRESSION = {
  deb: { small: ['-Zxz', '-z6'], fast: ['-Zgzip', '-z1'] },
  rpm: { small: 'w6.xzdio', fast: 'w3.zstdio' },
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      arch: { type: 'string', multiple: true, default: ['amd64', 'arm64'] },
      format: { type: 'string', multiple: true, default: ['deb', 'rpm', 'npm'] },
      fast: { type: 'boolean', default: false },
      version: { type: 'string' },
      out: { type: 'string', default: 'dist' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const release = readRelease(values.version)
  const output = resolve(values.out)
  mkdirSync(output, { recursive: true })
  const speed = values.fast ? 'fast' : 'small'
  for (const architecture of ARCHITECTURES.filter(({ deb }) => values.arch.includes(deb))) {
    for (const format of ['deb', 'rpm'] as const) {
      if (!values.format.includes(format)) continue
      tell(output, await buildOne(release, architecture, format, output, speed))
    }
  }
  if (values.format.includes('npm')) {
    for (const name of await inWorkFolder((work) => buildNpm(release, work, output))) {
      tell(output, name)
    }
  }
}

/** As sha256sum does. */
function tell(output: string, name: string): void {
  const digest = createHash('sha256')
    .update(readFileSync(join(output, name)))
    .digest('hex')
  process.stdout.write(`${digest}  ${name}\n`)
}

function buildOne(
  release: Release,
  architecture: Architecture,
  format: 'deb' | 'rpm',
  output: string,
  speed: 'small' | 'fast',
): Promise<string> {
  return inWorkFolder(async (work) => {
    const zsh = format === 'deb' ? DEB_ZSH_FOLDER : RPM_ZSH_FOLDER
    const directory = join(work, 'tree')
    mkdirSync(directory)
    const tree = await layTree(release, architecture, directory, zsh)
    return format === 'deb'
      ? buildDeb(release, architecture, tree, output, COMPRESSION.deb[speed])
      : buildRpm(release, architecture, tree, work, output, COMPRESSION.rpm[speed])
  })
}

async function inWorkFolder<T>(build: (work: string) => T | Promise<T>): Promise<T> {
  // rpm and dpkg-deb keep the modes of directories.
  process.umask(0o022)
  const work = mkdtempSync(join(tmpdir(), 'metabind-package-'))
  try {
    return await build(work)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

await main()
