import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compile, convertReference, type Policy } from './selinux-policy.ts'

/**
 * `selinux-paths.ts PACKAGE`: whether what the RPM lays out gets the types that the module is written for, from its
 * own file contexts and from those of the reference policy. A row that no path has is a fault, too.
 */

const EXPECTED: readonly (readonly [path: RegExp, type: string])[] = [
  // What ExecStart= of the unit runs: its type is the way into the domain.
  [/^\/usr\/lib\/metabind\/bin\/node$/, 'metabind_exec_t'],
  [/^\/usr\/lib\/metabind\/bin$/, 'bin_t'],
  // Mapped and read as every library is, by the agent and by whoever uses the command line.
  [/^\/usr\/lib\/metabind(\/parts)?(\/[\w-]+\.(cjs|node))?$/, 'lib_t'],
  [/^\/usr\/s?bin\/metabindd?$/, 'bin_t'],
  [/^\/etc\/metabind(\/.*)?$/, 'metabind_etc_t'],
  [/^\/etc\/logrotate\.d(\/metabind)?$/, 'etc_t'],
  [/^\/usr\/lib\/systemd\/system\/metabind/, 'systemd_unit_t'],
  [/^\/usr\/lib\/(sysusers|tmpfiles)\.d\/metabind\.conf$/, 'lib_t'],
  [/^\/usr\/share\/man\//, 'man_t'],
  [/^\/usr\/share\/(?!man\/)/, 'usr_t'],
]

function pathsOf(rpm: string): { path: string; kind: 'file' | 'dir' }[] {
  const format = '[%{FILEMODES:perms} %{FILENAMES}\n]'
  const listed = execFileSync('rpm', ['-qp', '--qf', format, rpm], { encoding: 'utf8' })
  return listed
    .trim()
    .split('\n')
    .map((line) => ({
      path: line.slice(line.indexOf(' ') + 1),
      kind: line.startsWith('d') ? 'dir' : 'file',
    }))
}

async function complaints(policy: Policy, rpm: string): Promise<string[]> {
  const found: string[] = []
  const used = new Set<RegExp>()
  for (const { path, kind } of pathsOf(rpm)) {
    const type = await policy.typeAt(path, kind)
    const row = EXPECTED.find(([pattern]) => pattern.test(path))
    if (row === undefined) found.push(`${path}: ${type}, and no row says what it should be`)
    else if (row[1] !== type) found.push(`${path}: ${type}, not ${row[1]}`)
    if (row !== undefined) used.add(row[0])
  }
  const unused = EXPECTED.filter(([pattern]) => !used.has(pattern))
  return [...found, ...unused.map(([pattern]) => `${pattern.source}: no path of the package`)]
}

const [rpm] = process.argv.slice(2)
if (rpm === undefined) throw new Error('usage: selinux-paths.ts PACKAGE')
const work = mkdtempSync(join(tmpdir(), 'metabind-selinux-'))
try {
  const policy = await compile(work, await convertReference(work))
  const said = await complaints(policy, rpm)
  for (const line of said) process.stderr.write(`${line}\n`)
  process.exitCode = said.length === 0 ? 0 : 1
} finally {
  rmSync(work, { recursive: true })
}
