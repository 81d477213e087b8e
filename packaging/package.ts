import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { buildDeb, ZSH_FOLDER as DEB_ZSH_FOLDER } from './deb.ts'
import { buildNpm } from './npm.ts'
import { layRegistrarTree } from './registrar-tree.ts'
import { type Release, readRelease } from './release.ts'
import { buildRpm, ZSH_FOLDER as RPM_ZSH_FOLDER } from './rpm.ts'
import { ARCHITECTURES, type Architecture } from './runtime.ts'
import { type Signer, signDetached, signRpm, withSigner } from './sign.ts'
import { packagesIn, sum, writeSums } from './sums.ts'
import { layTree } from './tree.ts'

/** `./dev package`: what strangers install, the same bytes from the same sources. */

const HELP = `Usage: ./dev package [OPTIONS]

  --arch NAME      amd64 or arm64, of DEB and RPM; can be repeated (default: both)
  --format NAME    deb, rpm or npm; can be repeated (default: all)
  --package NAME   metabind or metabind-registrar, of DEB and RPM; can be repeated (default: both)
  --fast           compress little, for tests
  --no-cache       compress the runtime anew. Otherwise a DEB takes it from .dev/package/xz if it was compressed
                   before, and is the same; --sign never does
  --version TEXT   instead of the version of package.json, for tests
  --sign KEY       what gpg knows the key by, or a file with the secret key: RPMs get its signature, DEBs
                   and tarballs one beside them, and SHA256SUMS too
  --out DIRECTORY  default dist/; with --sign nothing else may be there
`

// xz unpacks on every release that is named in docs/install.md; zstd is quick to make. With more than one thread
// the bytes are the same for any number of them.
const COMPRESSION = {
  deb: { small: 6, fast: 0 },
  rpm: { small: 'w6T2.xzdio', fast: 'w3.zstdio' },
}

const LAYOUTS = { metabind: layTree, 'metabind-registrar': layRegistrarTree }

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      arch: { type: 'string', multiple: true, default: ['amd64', 'arm64'] },
      format: { type: 'string', multiple: true, default: ['deb', 'rpm', 'npm'] },
      package: { type: 'string', multiple: true, default: Object.keys(LAYOUTS) },
      fast: { type: 'boolean', default: false },
      'no-cache': { type: 'boolean', default: false },
      version: { type: 'string' },
      sign: { type: 'string' },
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
  const built: string[] = []
  const speed = values.fast ? 'fast' : 'small'
  // What is signed was made here and now.
  const usesCache = !values['no-cache'] && values.sign === undefined
  const cache = usesCache ? join(release.cache, 'xz') : undefined
  for (const architecture of ARCHITECTURES.filter(({ deb }) => values.arch.includes(deb))) {
    for (const format of (['deb', 'rpm'] as const).filter((one) => values.format.includes(one))) {
      for (const [name, lay] of Object.entries(LAYOUTS)) {
        if (!values.package.includes(name)) continue
        const began = Date.now()
        process.stderr.write(`building the ${format} of ${name} for ${architecture.deb}\n`)
        built.push(await buildOne(release, architecture, { format, lay }, output, speed, cache))
        process.stderr.write(`built in ${Math.round((Date.now() - began) / 1000)} s\n`)
      }
    }
  }
  if (values.format.includes('npm')) {
    process.stderr.write('building the npm tarballs\n')
    built.push(...(await inWorkFolder((work) => buildNpm(release, work, output))))
  }
  for (const name of built) rmSync(join(output, `${name}.asc`), { force: true })
  if (values.sign === undefined) writeSums(output)
  else await withSigner(values.sign, (signer) => signAll(signer, output, built))
  for (const name of built) process.stdout.write(`${sum(join(output, name))}  ${name}\n`)
}

function signAll(signer: Signer, output: string, built: readonly string[]): void {
  // What somebody else put there must not come under the signature.
  const others = packagesIn(output).filter((name) => !built.includes(name))
  if (others.length > 0) throw new Error(`not signed: ${output} has others: ${others.join(', ')}`)
  process.stderr.write(`signing with ${signer.fingerprint}\n`)
  for (const name of built) {
    if (name.endsWith('.rpm')) signRpm(signer, join(output, name))
    else signDetached(signer, join(output, name))
  }
  signDetached(signer, writeSums(output))
}

function buildOne(
  release: Release,
  architecture: Architecture,
  { format, lay }: { readonly format: 'deb' | 'rpm'; readonly lay: typeof layTree },
  output: string,
  speed: 'small' | 'fast',
  cache: string | undefined,
): Promise<string> {
  return inWorkFolder(async (work) => {
    const zsh = format === 'deb' ? DEB_ZSH_FOLDER : RPM_ZSH_FOLDER
    const directory = join(work, 'tree')
    mkdirSync(directory)
    const tree = await lay(release, architecture, directory, zsh)
    return format === 'deb'
      ? buildDeb(release, architecture, tree, work, output, {
          level: COMPRESSION.deb[speed],
          cache,
        })
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
