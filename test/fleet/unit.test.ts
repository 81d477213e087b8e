import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { parseRegistrarConfig } from '../../src/registrar/registrar-config.ts'

const NAME = 'metabind-registrar.service'
const UNIT = fileURLToPath(new URL(`../../packaging/registrar/${NAME}`, import.meta.url))
const SYSTEM = 'usr/lib/systemd/system'
// In tenths, as --threshold counts: 1.5.
const EXPOSURE_MAX = 15

test('systemd-analyze finds the registrar exposed to 1.5 at most', () => {
  const args = ['security', '--offline=true', `--threshold=${EXPOSURE_MAX}`, UNIT]
  const found = spawnSync('systemd-analyze', args, { encoding: 'utf8' })
  expect(found.status, found.stdout + found.stderr).toBe(0)
})

test('systemd-analyze verify has nothing to say of it', () => {
  const root = mkdtempSync('/tmp/metabind-units-')
  onTestFinished(() => rmSync(root, { recursive: true }))
  mkdirSync(join(root, SYSTEM), { recursive: true })
  execFileSync('sh', ['-c', `cp -a /${SYSTEM}/*.target /${SYSTEM}/*.slice ${root}/${SYSTEM}/`])
  cpSync(UNIT, join(root, SYSTEM, NAME))
  for (const program of ['usr/lib/metabind-registrar/bin/node', 'sbin/init']) {
    mkdirSync(join(root, program, '..'), { recursive: true })
    writeFileSync(join(root, program), '', { mode: 0o755 })
  }
  const args = ['verify', `--root=${root}`, '--man=no', NAME]
  const found = spawnSync('systemd-analyze', args, { encoding: 'utf8' })
  const said = found.stderr.split('\n').filter((line) => /registrar/.test(line))
  // Known from systemd 253 on; the line before it is for older ones.
  expect(said.filter((line) => !/ignoring: notify-reload/.test(line))).toEqual([])
})

test('it may write where the registrar writes by default', () => {
  const { storage } = parseRegistrarConfig([{ file: 'r.toml', text: 'url = "https://r.example"' }])
  const [, directory] = /^StateDirectory=(.+)$/m.exec(readFileSync(UNIT, 'utf8')) ?? []
  for (const path of Object.values(storage)) expect(path).toMatch(`/var/lib/${directory}/`)
})

test('the service and the wrapper start the runtime with the same options', () => {
  const wrapper = readFileSync(`${UNIT.replace('.service', '.sh')}`, 'utf8')
  const started = /^ExecStart=(.+) serve$/m.exec(readFileSync(UNIT, 'utf8'))?.[1]
  expect(wrapper).toContain(`exec ${started} "$@"\n`)
})

test('keys in memory reach no disk: neither by a core file nor by swapping', () => {
  const lines = readFileSync(UNIT, 'utf8').split('\n')
  for (const line of ['LimitCORE=0', 'MemorySwapMax=0']) expect(lines).toContain(line)
})
