import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { DEB_DISTRIBUTIONS, type DebDistribution } from './distributions.ts'

/**
 * `resolve-deb.ts PACKAGE`: whether apt itself finds what the package depends on in each distribution: in
 * the index of a Debian release, or in one made of the packages of the table.
 */

/** The mirror that this machine's own apt asks. */
function debianMirror(): string {
  const args = ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages']
  const uris = execFileSync('apt-get', args, { encoding: 'utf8' }).split('\n')
  const uri = uris.find((line) => /\/debian\/?$/.test(line))
  if (uri === undefined) throw new Error('apt has no mirror of Debian here')
  return uri
}

function source(row: DebDistribution, work: string): string {
  if (row.suite !== undefined) return `deb ${debianMirror()} ${row.suite} main\n`
  const packages = Object.entries(row.packages ?? {})
  const index = packages.map(
    ([name, version]) =>
      `Package: ${name}\nVersion: ${version}\nArchitecture: amd64\nMaintainer: none\nFilename: none\nSize: 1\nSHA256: ${'0'.repeat(64)}\nDescription: none\n`,
  )
  mkdirSync(join(work, 'index'))
  writeFileSync(join(work, 'index/Packages'), index.join('\n'))
  return `deb [trusted=yes] file:${work}/index ./\n`
}

/** What `apt-get install` says; its exit code tells whether it would install the package. */
function simulate(deb: string, row: DebDistribution): { installs: boolean; said: string } {
  const work = mkdtempSync(join(tmpdir(), 'metabind-resolve-'))
  try {
    for (const folder of ['lists/partial', 'cache/archives/partial', 'parts', 'dpkg']) {
      mkdirSync(join(work, folder), { recursive: true })
    }
    writeFileSync(join(work, 'status'), '')
    writeFileSync(join(work, 'sources'), source(row, work))
    const settings = [
      'APT::Architecture=amd64',
      'APT::Sandbox::User=root',
      'APT::Install-Recommends=false',
      `Dir::State=${work}`,
      `Dir::State::lists=${work}/lists`,
      `Dir::State::status=${work}/status`,
      `Dir::Cache=${work}/cache`,
      `Dir::Etc::SourceList=${work}/sources`,
      `Dir::Etc::SourceParts=${work}/parts`,
      `Dir::Etc::PreferencesParts=${work}/parts`,
    ].flatMap((setting) => ['-o', setting])
    const env = { ...process.env, LC_ALL: 'C' }
    execFileSync('apt-get', [...settings, '-qq', 'update'], { env, stdio: 'pipe' })
    const args = [...settings, '-s', '-y', 'install', resolve(deb)]
    const found = spawnSync('apt-get', args, { env, encoding: 'utf8' })
    return { installs: found.status === 0, said: found.stdout + found.stderr }
  } finally {
    rmSync(work, { recursive: true })
  }
}

const deb = process.argv[2]
if (deb === undefined) throw new Error('usage: resolve-deb.ts PACKAGE')
for (const row of DEB_DISTRIBUTIONS) {
  const { installs, said } = simulate(deb, row)
  const holds = row.refused === undefined ? installs : !installs && said.includes(row.refused)
  const what = row.refused === undefined ? 'resolves on' : `is refused for ${row.refused} on`
  process.stdout.write(`${holds ? 'ok' : 'not ok'} - DEB: ${what} ${row.name}\n`)
  if (!holds) {
    process.stdout.write(said)
    process.exitCode = 1
  }
}
