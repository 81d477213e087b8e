import { execFileSync } from 'node:child_process'
import { chmod, chown, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { beforeAll, expect, test } from 'vitest'
import { readTlsFiles } from '../../src/registrar/tls-files.ts'
import { scratch } from '../harness/metabind.ts'
import { requireRoot } from '../harness/root.ts'

let directory: string
beforeAll(async () => {
  const made = await scratch()
  directory = made.path
  return () => made[Symbol.asyncDispose]()
})

async function keyFile(name: string, mode: number, uid?: number): Promise<string> {
  const path = join(directory, name)
  await writeFile(path, 'a key', { mode: 0o600 })
  await chmod(path, mode)
  if (uid !== undefined) await chown(path, uid, 0)
  return path
}

const readKey = (key: string) => readTlsFiles({ certificate: key, key, minimum_version: '1.3' }).key

test('a key of its own is read, also behind a link, and is not printed', async () => {
  const path = await keyFile('own', 0o600)
  const link = join(directory, 'link')
  await symlink(path, link)
  expect(readKey(link).reveal().toString()).toBe('a key')
  expect(inspect(readKey(link))).toBe('[secret]')
})

test.each([0o644, 0o604, 0o660, 0o602, 0o622])('a key of mode %o is refused', async (mode) => {
  const path = await keyFile('open', mode)
  expect(() => readKey(path)).toThrow(
    expect.objectContaining({
      code: 'REGISTRAR_TLS',
      cause: expect.objectContaining({ message: 'accessible to others' }),
    }),
  )
})

test('what is no file is refused, and does not hold it up', () => {
  const pipe = join(directory, 'pipe')
  execFileSync('mkfifo', ['-m', '600', pipe])
  expect(() => readKey(pipe)).toThrow(expect.objectContaining({ code: 'REGISTRAR_TLS' }))
  expect(() => readKey(join(directory, 'absent'))).toThrow(
    expect.objectContaining({ code: 'REGISTRAR_TLS' }),
  )
})

test('a key of root may be of a group, and one of somebody else is refused', async (context) => {
  requireRoot(context, 'it gives files away')
  expect(readKey(await keyFile('of-root', 0o640, 0)).reveal()).toHaveLength(5)
  const path = await keyFile('of-other', 0o600, 4321)
  expect(() => readKey(path)).toThrow(
    expect.objectContaining({ cause: expect.objectContaining({ message: 'of another owner' }) }),
  )
})
