import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { RPM_DISTRIBUTIONS, type RpmDistribution } from './distributions.ts'

/**
 * `provider.ts DIRECTORY`: makes `distribution.rpm` there, an empty package that provides what the oldest
 * distribution of the table has of that which the package asks for.
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
/** What rpm would find in the packages of a distribution. */
export function provides(row: RpmDistribution): string[] {
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

/** Makes an empty package that provides these capabilities. @returns its file */
export function buildProvider(offered: readonly string[], directory: string): string {
  const head =
    'Name: distribution\nVersion: 1\nRelease: 1\nSummary: all of it\nLicense: none\nBuildArch: noarch\n'
  const lines = offered.map((capability) => `Provides: ${capability}\n`).join('')
  const spec = join(directory, 'distribution.spec')
  writeFileSync(spec, `${head}${lines}%description\nAll of it.\n%files\n`)
  const macros = [`_topdir ${directory}`, `_rpmdir ${directory}`, '_rpmfilename distribution.rpm']
  const defines = macros.flatMap((macro) => ['-D', macro])
  execFileSync('rpmbuild', ['-bb', '--quiet', ...defines, spec])
  rmSync(spec)
  return join(directory, 'distribution.rpm')
}

const [directory] = process.argv.slice(2)
const [oldest] = RPM_DISTRIBUTIONS
if (import.meta.main && directory !== undefined && oldest !== undefined) {
  buildProvider(provides(oldest), resolve(directory))
}
