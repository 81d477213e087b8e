import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
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
const SYSTEM = 'usr/lib/systemd/system'
// In tenths, as --threshold counts: 1.5.
const EXPOSURE_MAX = 15

function unit(name: string): string {
  return readFileSync(join(ROOT, 'systemd', name), 'utf8')
}

test('systemd-analyze finds the service exposed to 1.5 at most', () => {
  const args = ['security', '--offline=true', `--threshold=${EXPOSURE_MAX}`]
  const found = spawnSync('systemd-analyze', [...args, join(ROOT, 'systemd/metabindd.service')], {
    encoding: 'utf8',
  })
  expect(found.status, found.stdout + found.stderr).toBe(0)
})

test('systemd-analyze verify has nothing to say of the units', () => {
  const root = mkdtempSync('/tmp/metabind-units-')
  onTestFinished(() => rmSync(root, { recursive: true }))
  mkdirSync(join(root, SYSTEM), { recursive: true })
  // The targets and slices that ours are ordered with.
  execFileSync('sh', ['-c', `cp -a /${SYSTEM}/*.target /${SYSTEM}/*.slice ${root}/${SYSTEM}/`])
  for (const name of UNITS) cpSync(join(ROOT, 'systemd', name), join(root, SYSTEM, name))
  for (const program of ['usr/lib/metabind/bin/node', 'usr/bin/metabind', 'sbin/init']) {
    mkdirSync(join(root, program, '..'), { recursive: true })
    writeFileSync(join(root, program), '', { mode: 0o755 })
  }
  const found = spawnSync('systemd-analyze', ['verify', `--root=${root}`, '--man=no', ...UNITS], {
    encoding: 'utf8',
  })
  const said = found.stderr.split('\n').filter((line) => /metabind/.test(line))
  // Known from systemd 253 on, like OpenFile=; the line before it is for older ones.
  expect(said.filter((line) => !/ignoring: notify-reload|OpenFile/.test(line))).toEqual([])
})

test('the service and the wrapper start the runtime with the same options', () => {
  const wrapper = readFileSync(join(ROOT, 'packaging/metabindd.sh'), 'utf8')
  const started = /^ExecStart=(.+)$/m.exec(unit('metabindd.service'))?.[1]
  expect(wrapper).toContain(`exec ${started} "$@"\n`)
})

test('the units use the paths and modes that the configuration has by default', () => {
  const { listen, directories } = parseConfig([])
  const metadata = unit('metabind.socket')
  const admin = unit('metabind-admin.socket')
  expect(metadata).toContain(`ListenStream=${listen.metadata_socket}\n`)
  expect(metadata).toContain(`SocketMode=0${listen.metadata_mode.toString(8)}\n`)
  expect(admin).toContain(`ListenStream=${listen.admin_socket}\n`)
  expect(admin).toContain(`SocketMode=0${listen.admin_mode.toString(8)}\n`)
  expect(directories).toEqual({ runtime: '/run/metabind', state: '/var/lib/metabind' })
})

test('callers keep their uids and their /proc: what would hide them is off', () => {
  for (const directive of ['PrivateUsers', 'ProtectProc', 'ProcSubset']) {
    expect(unit('metabindd.service')).not.toMatch(new RegExp(`^${directive}=`, 'm'))
  }
})

test('keys in memory reach no disk: neither by a core file nor by swapping', () => {
  for (const line of ['LimitCORE=0', 'MemorySwapMax=0']) {
    expect(unit('metabindd.service').split('\n')).toContain(line)
  }
})
