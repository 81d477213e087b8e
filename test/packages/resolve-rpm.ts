import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RPM_DISTRIBUTIONS, type RpmDistribution } from './distributions.ts'

/**
 * `resolve-rpm.ts PACKAGE`: whether rpm itself installs the package with what each distribution offers.
 * An empty package that provides the same is put into the database of an empty root for it.
 */

const C_LIBRARIES = ['libc.so.6', 'libm.so.6', 'libdl.so.2', 'libpthread.so.0', 'librt.so.1']
const C_VERSIONS_OF_OLD = ['2.2.5', '2.3', '2.3.2', '2.3.3', '2.3.4']
const GCC_VERSIONS = ['3.0', '3.3', '3.3.1', '3.4', '4.2.0', '4.3.0', '4.7.0', '4.8.0', '7.0.0']
// The symbol versions that a compiler's libstdc++ ends at (GCC's manual, "ABI Policy and Guidelines").
const CXX_OF_GCC = [
  { gcc: 13, glibcxx: 32, cxxabi: 14 },
  { gcc: 11, glibcxx: 29, cxxabi: 13 },
  { gcc: 8, glibcxx: 25, cxxabi: 11 },
]
// Rich dependencies, which rpm 4.13 was the first to know.
const RPM_MIN = [4, 13]

function provides(row: RpmDistribution): string[] {
  const cxx = CXX_OF_GCC.find(({ gcc }) => row.gcc >= gcc)
  if (cxx === undefined) throw new Error(`${row.name}: GCC ${row.gcc} is too old`)
  const upTo = (count: number) => Array.from({ length: count }, (_, at) => at + 1)
  const cVersions = [...C_VERSIONS_OF_OLD, ...upTo(row.glibc).map((minor) => `2.${minor}`)]
  const soname = (name: string, versions: readonly string[] = []) =>
    ['', ...versions].map((version) => `${name}(${version})(64bit)`)
  return [
    ...[...C_LIBRARIES, 'ld-linux-x86-64.so.2'].flatMap((name) =>
      soname(
        name,
        [...new Set(cVersions)].map((version) => `GLIBC_${version}`),
      ),
    ),
    ...soname('libstdc++.so.6', [
      'GLIBCXX_3.4',
      ...upTo(cxx.glibcxx).map((number) => `GLIBCXX_3.4.${number}`),
      'CXXABI_1.3',
      ...upTo(cxx.cxxabi).map((number) => `CXXABI_1.3.${number}`),
    ]),
    ...soname(
      'libgcc_s.so.1',
      GCC_VERSIONS.map((version) => `GCC_${version}`),
    ),
    ...soname('libatomic.so.1', ['LIBATOMIC_1.0']),
    ...['esys', 'mu', 'rc', 'tctildr', 'tcti-device'].flatMap((part) =>
      soname(`libtss2-${part}.so.0`),
    ),
    ...soname(`libtss2-sys.so.${row.sysSoname}`),
    ...['/bin/sh', '/usr/sbin/groupadd', '/usr/sbin/useradd', 'rtld(GNU_HASH)'],
    `systemd = ${row.systemd}`,
  ]
}

/** @returns what rpm is missing, nothing if it would install the package */
function missing(rpm: string, offered: readonly string[]): string {
  const work = mkdtempSync(join(tmpdir(), 'metabind-resolve-'))
  try {
    const root = join(work, 'root')
    mkdirSync(root)
    const head =
      'Name: distribution\nVersion: 1\nRelease: 1\nSummary: all of it\nLicense: none\nBuildArch: noarch\n'
    const lines = offered.map((capability) => `Provides: ${capability}\n`).join('')
    writeFileSync(join(work, 'all.spec'), `${head}${lines}%description\nAll of it.\n%files\n`)
    const folders = ['-D', `_topdir ${work}`, '-D', `_rpmdir ${work}`, '-D', '_rpmfilename all.rpm']
    execFileSync('rpmbuild', ['-bb', '--quiet', ...folders, join(work, 'all.spec')])
    const inRoot = ['--root', root, '--force-debian', '-i']
    execFileSync('rpm', [...inRoot, '--nodeps', join(work, 'all.rpm')], { stdio: 'pipe' })
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
