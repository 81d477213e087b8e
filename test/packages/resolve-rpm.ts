import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RPM_DISTRIBUTIONS } from './distributions.ts'
import { buildProvider, provides } from './provider.ts'

/**
 * `resolve-rpm.ts PACKAGE`: whether rpm itself installs the package with what each distribution offers.
 * An empty package that provides the same is put into the database of an empty root for it.
 */

// Rich dependencies, which rpm 4.13 was the first to know.
const RPM_MIN = [4, 13]

/** @returns what rpm is missing, nothing if it would install the package */
function missing(rpm: string, offered: readonly string[]): string {
  const work = mkdtempSync(join(tmpdir(), 'metabind-resolve-'))
  try {
    const root = join(work, 'root')
    mkdirSync(root)
    const provider = buildProvider(offered, work)
    const inRoot = ['--root', root, '--force-debian', '-i']
    execFileSync('rpm', [...inRoot, '--nodeps', provider], { stdio: 'pipe' })
    try {
      execFileSync('rpm', [...inRoot, '--test', rpm], { stdio: 'pipe', encoding: 'utf8' })
      return ''
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  } finally {
    rmSync(work, { recursive: true })
  }
}

function isOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [majorMin = 0, minorMin = 0] = RPM_MIN
  return major < majorMin || (major === majorMin && minor < minorMin)
}

const rpm = process.argv[2]
if (rpm === undefined) throw new Error('usage: resolve-rpm.ts PACKAGE')
let failed = false
for (const row of RPM_DISTRIBUTIONS) {
  const found = isOld(row.rpm)
    ? `rpm ${row.rpm} knows no rich dependencies`
    : missing(rpm, provides(row))
  process.stdout.write(`${found === '' ? 'ok' : 'not ok'} - RPM: resolves on ${row.name}\n${found}`)
  failed ||= found !== ''
}
// That what is missing is missed at all.
for (const row of RPM_DISTRIBUTIONS.slice(0, 1)) {
  for (const gone of [
    'libtss2-sys.so.0()(64bit)',
    '/usr/sbin/useradd',
    'libatomic.so.1()(64bit)',
  ]) {
    const found = missing(
      rpm,
      provides(row).filter((capability) => capability !== gone),
    )
    const refused = found.includes(gone)
    process.stdout.write(`${refused ? 'ok' : 'not ok'} - RPM: is refused without ${gone}\n`)
    failed ||= !refused
  }
}
process.exitCode = failed ? 1 : 0
