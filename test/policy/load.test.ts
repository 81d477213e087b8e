import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, type TestContext, test } from 'vitest'
import { loadPolicy } from '../../src/policy/load.ts'
import { POLICY_BYTES_MAX } from '../../src/policy/parse.ts'
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

afterEach(() => rm(directory, { recursive: true }))

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
