import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, type TestContext, test } from 'vitest'
import { loadPolicy, POLICY_FILE } from '../../src/policy/load.ts'
import { POLICY_BYTES_MAX } from '../../src/policy/parse.ts'
import { openBelow } from '../harness/open-below.ts'
import { requireRoot } from '../harness/root.ts'

const PARTS = { secretPaths: [], seesExecutables: false }
const DENY = '[[rule]]\neffect = "deny"\npaths = ["/**"]\n'

let directory: string
let file: string

beforeEach(async () => {
  directory = await mkdtemp('/tmp/policy-')
  file = join(directory, 'policy.toml')
  await writeFile(file, DENY, { mode: 0o600 })
})

afterEach(async () => {
  // Should a test have ended as another user.
  if (process.getuid?.() === 0) process.seteuid?.(0)
  await rm(directory, { recursive: true })
})

const refusal = (code: string) => expect.objectContaining({ code })

test('a file of our own, that nobody else can write, is loaded', async () => {
  const { policy, from } = await loadPolicy(file, PARTS)
  expect([policy.rules.length, from]).toEqual([1, file])
})

test.each([0o620, 0o602, 0o666])('one with mode %o is refused', async (mode) => {
  await chmod(file, mode)
  await expect(loadPolicy(file, PARTS)).rejects.toThrow(refusal('POLICY_UNSAFE'))
})

test('one of another user is refused, one of root is not', async (context: TestContext) => {
  requireRoot(context, 'a file is given to another user')
  await chown(file, 1001, 0)
  await expect(loadPolicy(file, PARTS)).rejects.toThrow(refusal('POLICY_UNSAFE'))
  await chown(file, 0, 1001)
  await expect(loadPolicy(file, PARTS)).resolves.toBeDefined()
})

test('one of the agent’s own user is loaded, and one of another user than it and root is not', async (context) => {
  requireRoot(context, 'the test becomes another user')
  await chmod(directory, 0o755)
  await chmod(file, 0o644)
  try {
    process.seteuid?.(1001)
    await expect(loadPolicy(file, PARTS)).resolves.toMatchObject({ from: file })
    process.seteuid?.(0)
    await chown(file, 1001, 0)
    process.seteuid?.(1001)
    await expect(loadPolicy(file, PARTS)).resolves.toMatchObject({ from: file })
    process.seteuid?.(0)
    await chown(file, 1002, 0)
    process.seteuid?.(1001)
    await expect(loadPolicy(file, PARTS)).rejects.toThrow(refusal('POLICY_UNSAFE'))
  } finally {
    process.seteuid?.(0)
  }
})

test('without one asked for it is that of the package, or what is built in', async () => {
  const { policy, from } = await loadPolicy(undefined, PARTS)
  // Where packaging/tree.ts puts it.
  expect(POLICY_FILE).toBe('/etc/metabind/policy.toml')
  expect(from).toBe(existsSync(POLICY_FILE) ? POLICY_FILE : 'built in')
  if (from === 'built in') expect(policy).toMatchObject({ mode: 'enforce', rules: [] })
})

test('one that cannot be opened is refused with the reason', async () => {
  await expect(loadPolicy(join(file, 'below'), PARTS)).rejects.toMatchObject({
    code: 'POLICY_UNREADABLE',
    detail: expect.stringContaining('a part of its path is no directory'),
  })
})

test('whether it is loaded or refused, it is closed again', async () => {
  await loadPolicy(file, PARTS)
  await chmod(file, 0o620)
  await expect(loadPolicy(file, PARTS)).rejects.toThrow()
  expect(openBelow(directory)).toEqual([])
})

test('a pipe that nobody writes to is refused, and not waited for', async () => {
  const pipe = join(directory, 'pipe')
  execFileSync('mkfifo', ['-m', '600', pipe])
  await expect(loadPolicy(pipe, PARTS)).rejects.toThrow(refusal('POLICY_UNSAFE'))
})

test('what is no file is refused', async () => {
  const folder = join(directory, 'folder')
  await mkdir(folder, { mode: 0o700 })
  await expect(loadPolicy(folder, PARTS)).rejects.toMatchObject({
    code: 'POLICY_UNREADABLE',
    detail: `${folder}: it is a directory.`,
  })
})

test('one that was asked for and is not there is refused, and nothing is taken in its place', async () => {
  await rm(file)
  await expect(loadPolicy(file, PARTS)).rejects.toThrow(refusal('POLICY_UNREADABLE'))
})

test('one of 256 KiB is loaded, and one byte more is refused', async () => {
  await writeFile(file, DENY.padEnd(POLICY_BYTES_MAX, '\n'))
  await expect(loadPolicy(file, PARTS)).resolves.toMatchObject({ from: file })
  await writeFile(file, DENY.padEnd(POLICY_BYTES_MAX + 1, '\n'))
  await expect(loadPolicy(file, PARTS)).rejects.toThrow(refusal('POLICY_INVALID'))
})
