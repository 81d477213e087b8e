import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { requireInSandbox } from '../../src/cli/config-sandbox.ts'
import { hindrance, installedSandbox } from '../../src/cli/unit-sandbox.ts'
import { parseConfig } from '../../src/config.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const SHIPPED = fileURLToPath(new URL('../../systemd/metabindd.service', import.meta.url))
const DROP_INS = 'etc/systemd/system/metabindd.service.d'

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let root: string

beforeEach(async () => {
  scratch = await scratchDirectory()
  root = scratch.path
  mkdirSync(join(root, 'usr/lib/systemd/system'), { recursive: true })
  cpSync(SHIPPED, join(root, 'usr/lib/systemd/system/metabindd.service'))
})
afterEach(() => scratch[Symbol.asyncDispose]())

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

function found(path: string): string | undefined {
  const sandbox = installedSandbox(root)
  if (sandbox === undefined) throw new Error('no unit')
  return hindrance(sandbox, path)
}

function check(toml: string): void {
  requireInSandbox(parseConfig([{ file: 'f', text: toml }]), root)
}

describe('the shipped unit', () => {
  test.each([
    ['/var/log/metabind/audit.log', undefined],
    ['/var/lib/metabind/audit.log', undefined],
    ['/run/metabind/salt', undefined],
    ['/var/log/audit.log', 'read-only'],
    ['/var/log/metabind-audit.log', 'read-only'],
    ['/srv/audit.log', 'read-only'],
    ['/root/audit.log', 'hidden'],
    ['/home/me/anchors', 'hidden'],
    ['/tmp/audit.log', 'hidden'],
  ])('%s: %s', (path, expected) => {
    expect(found(path)).toBe(expected)
  })

  test('lets the agent use every path that the configuration has by default', () => {
    expect(() => check('')).not.toThrow()
  })

  test('lets it write the file that docs/audit.md names', () => {
    expect(() => check('audit.file = "/var/log/metabind/audit.log"')).not.toThrow()
  })
})

test.each([
  ['audit.file = "/srv/audit.log"', 'audit.file: the agent may not write /srv/audit.log.'],
  ['directories.state = "/srv/m"', 'directories.state: the agent may not write /srv/m.'],
  ['audit.file = "/tmp/audit.log"', 'audit.file: the agent does not see /tmp/audit.log.'],
  ['policy.file = "/root/policy.toml"', 'policy.file: the agent does not see /root/policy.toml.'],
])('%s is refused', (toml, detail) => {
  expect(() => check(toml)).toThrow(expect.objectContaining({ code: 'CONFIG_SANDBOX', detail }))
})

test('what is only read may be anywhere that it can be seen', () => {
  expect(() => check('policy.file = "/srv/policy.toml"')).not.toThrow()
})

describe('a drop-in', () => {
  test('opens a path to the agent', () => {
    put(`${DROP_INS}/audit.conf`, '[Service]\nReadWritePaths=-/srv/audit /srv/other\n')
    expect([found('/srv/audit/a.log'), found('/srv/other'), found('/srv/x')]).toEqual([
      undefined,
      undefined,
      'read-only',
    ])
  })

  test('takes back what the unit has by an empty value', () => {
    put(`${DROP_INS}/none.conf`, '[Service]\nLogsDirectory=\n')
    expect(found('/var/log/metabind/audit.log')).toBe('read-only')
  })

  test('of the administrator is in force before one of its name that is shipped', () => {
    put('usr/lib/systemd/system/metabindd.service.d/a.conf', '[Service]\nReadWritePaths=/srv\n')
    put(`${DROP_INS}/a.conf`, '[Service]\n')
    expect(found('/srv/audit.log')).toBe('read-only')
  })

  test('turns the sandbox off', () => {
    put(`${DROP_INS}/off.conf`, '[Service]\nProtectSystem=full\nProtectHome=no\nPrivateTmp=no\n')
    expect([found('/srv/a.log'), found('/root/a.log'), found('/tmp/a.log')]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })
})

test('a link leads to where the file really is', () => {
  put(`${DROP_INS}/a.conf`, `[Service]\nReadWritePaths=${root}/real\n`)
  mkdirSync(join(root, 'real'))
  symlinkSync(join(root, 'real'), join(root, 'link'))
  symlinkSync('/usr/share', join(root, 'real/out'))
  // The scratch directory is below /tmp, which is the agent's own.
  put(`${DROP_INS}/b.conf`, '[Service]\nPrivateTmp=no\n')
  expect([found(`${root}/link/a.log`), found(`${root}/real/out/a.log`)]).toEqual([
    undefined,
    'read-only',
  ])
})

test('where no unit is installed nothing is asked of it', () => {
  rmSync(join(root, 'usr'), { recursive: true })
  expect(installedSandbox(root)).toBeUndefined()
  expect(() => check('audit.file = "/srv/audit.log"')).not.toThrow()
})
