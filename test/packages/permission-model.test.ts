import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'

/** Why the unit does without Node's permission model (ARCHITECTURE.md, "Decisions"): if it changes, this fails. */

const WRITE = `const fs = require('node:fs')
const file = fs.openSync(process.argv[1] + '/salt', 'w', 0o600)
fs.writeSync(file, 'x')
fs.fsyncSync(file)`

function written(...flags: string[]) {
  const directory = mkdtempSync('/tmp/metabind-permission-')
  onTestFinished(() => rmSync(directory, { recursive: true }))
  return spawnSync(process.execPath, [...flags, '-e', WRITE, directory], { encoding: 'utf8' })
}

test('under the permission model nothing can be put on the disk for certain', () => {
  expect(written()).toMatchObject({ status: 0 })
  const { status, stderr } = written('--permission', '--allow-fs-read=*', '--allow-fs-write=*')
  expect(status).not.toBe(0)
  expect(stderr).toContain('fsync API is disabled when Permission Model is enabled')
})

test('a native module, which the agent needs, is not bound by it', () => {
  const directory = mkdtempSync('/tmp/metabind-permission-')
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const file = `${directory}/written`
  const flags = ['--permission', '--allow-fs-read=*', '--allow-addons']
  const write = `require('koffi').load('libc.so.6').func('int creat(const char *path, int mode)')(process.argv[1], 0o600)`
  const { status } = spawnSync(process.execPath, [...flags, '-e', write, file])
  expect({ status, isThere: existsSync(file) }).toEqual({ status: 0, isThere: true })
})
