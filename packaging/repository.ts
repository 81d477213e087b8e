import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { ARCHITECTURES } from './runtime.ts'
import {
  type Signer,
  signDetached,
  signInline,
  verifyDetached,
  verifyRpm,
  withSigner,
} from './sign.ts'
import { packagesIn, verifySums } from './sums.ts'

/** `./dev repository`: folders that apt and dnf install from, to be put on any web server. */

const HELP = `Usage: ./dev repository [OPTIONS]

  --sign KEY        what gpg knows the key by, or a file with the secret key; the packages must have been
                    signed with it (./dev package --sign KEY). Without it apt and dnf refuse the repository
                    unless they are told to trust it
  --from DIRECTORY  the packages, with their SHA256SUMS (default dist/)
  --out DIRECTORY   default dist/repository/; packages that are there stay
`

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      sign: { type: 'string' },
      from: { type: 'string', default: 'dist' },
      out: { type: 'string', default: 'dist/repository' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const [from, out] = [resolve(values.from), resolve(values.out)]
  verifySums(from)
  if (values.sign === undefined) layRepositories(from, out, undefined)
  else await withSigner(values.sign, (signer) => layRepositories(from, out, signer))
  process.stdout.write(`${out}\n`)
}

function layRepositories(from: string, out: string, signer: Signer | undefined): void {
  if (signer !== undefined) verifyDetached(signer, join(from, 'SHA256SUMS'))
  mkdirSync(out, { recursive: true })
  if (signer !== undefined) cpSync(signer.publicKey, join(out, 'metabind.asc'))
  layApt(from, join(out, 'apt'), signer)
  for (const { rpm } of ARCHITECTURES) layYum(from, join(out, 'yum', rpm), `.${rpm}.rpm`, signer)
}

const POOL = 'pool/main/m/metabind'

function layApt(from: string, apt: string, signer: Signer | undefined): void {
  const pool = join(apt, POOL)
  mkdirSync(pool, { recursive: true })
  for (const name of packagesIn(from).filter((file) => file.endsWith('.deb'))) {
    for (const file of [name, `${name}.asc`]) {
      if (existsSync(join(from, file))) copyFileSync(join(from, file), join(pool, file))
    }
  }
  // Those of before, too: what is listed in the index is vouched for by its signature.
  if (signer !== undefined) {
    for (const name of packagesIn(pool)) verifyDetached(signer, join(pool, name))
  }
  const suite = join(apt, 'dists/stable')
  rmSync(suite, { recursive: true, force: true })
  for (const { deb } of ARCHITECTURES) {
    const index = join(suite, 'main', `binary-${deb}`)
    mkdirSync(index, { recursive: true })
    writeFileSync(join(index, 'Packages'), ftpArchive(apt, ['--arch', deb, 'packages', POOL]))
    execFileSync('xz', ['--keep', join(index, 'Packages')])
  }
  const named = { Origin: 'metabind', Label: 'metabind', Suite: 'stable', Codename: 'stable' }
  const fields = {
    ...named,
    Components: 'main',
    Architectures: ARCHITECTURES.map(({ deb }) => deb).join(' '),
  }
  const options = Object.entries(fields).flatMap(([name, value]) => [
    '-o',
    `APT::FTPArchive::Release::${name}=${value}`,
  ])
  const release = ftpArchive(apt, [...options, 'release', 'dists/stable'])
  writeFileSync(join(suite, 'Release'), release)
  if (signer === undefined) return
  signInline(signer, join(suite, 'Release'), join(suite, 'InRelease'))
}

function ftpArchive(apt: string, args: readonly string[]): Buffer {
  return execFileSync('apt-ftparchive', args, { cwd: apt, stdio: ['ignore', 'pipe', 'inherit'] })
}

function layYum(from: string, yum: string, ending: string, signer: Signer | undefined): void {
  mkdirSync(yum, { recursive: true })
  for (const name of packagesIn(from).filter((file) => file.endsWith(ending))) {
    copyFileSync(join(from, name), join(yum, name))
  }
  if (signer !== undefined) {
    for (const name of readdirSync(yum).filter((file) => file.endsWith('.rpm'))) {
      verifyRpm(signer, join(yum, name))
    }
  }
  rmSync(join(yum, 'repodata'), { recursive: true, force: true })
  execFileSync('createrepo_c', ['--quiet', '--no-database', yum], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (signer !== undefined) signDetached(signer, join(yum, 'repodata/repomd.xml'))
}

await main()
