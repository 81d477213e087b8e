import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openMasterKey } from '../../src/registrar-keys/master-key.ts'
import { requireRoot } from '../harness/root.ts'
import { scratchDirectory } from '../harness/scratch.ts'

let directory: AsyncDisposable & { readonly path: string }
beforeEach(async () => {
  directory = await scratchDirectory()
})
afterEach(() => directory[Symbol.asyncDispose]())

const at = (...parts: string[]) => join(directory.path, ...parts)
const isUnsafe = expect.objectContaining({ code: 'DIRECTORY_UNSAFE' })

test('a key that is not there is made, and is the same the next time', () => {
  const sealed = openMasterKey(at('master.key')).seal('use', Buffer.from('bytes'))
  expect(openMasterKey(at('master.key')).open('use', sealed).toString()).toBe('bytes')
})

test('a credential is read as systemd gives it: of root, of mode 0440, in a directory that is read', async (context) => {
  requireRoot(context, 'it is a file of root')
  await mkdir(at('credentials'))
  await writeFile(at('credentials', 'master.key'), Buffer.alloc(32, 7), { mode: 0o440 })
  await chmod(at('credentials', 'master.key'), 0o440)
  await chmod(at('credentials'), 0o550)
  expect(openMasterKey(at('credentials', 'master.key')).derive('use').reveal()).toHaveLength(32)
})

test.each([31, 33])('a key of %i bytes is refused', async (length) => {
  await writeFile(at('master.key'), Buffer.alloc(length, 7), { mode: 0o600 })
  expect(() => openMasterKey(at('master.key'))).toThrow(
    expect.objectContaining({ code: 'REGISTRAR_DATABASE' }),
  )
})

test('a key that others can read is refused', async () => {
  await writeFile(at('master.key'), Buffer.alloc(32, 7))
  await chmod(at('master.key'), 0o644)
  expect(() => openMasterKey(at('master.key'))).toThrow(isUnsafe)
})

test('a key of somebody else is refused', async (context) => {
  requireRoot(context, 'it gives the file away')
  await writeFile(at('master.key'), Buffer.alloc(32, 7), { mode: 0o600 })
  await chown(at('master.key'), 4321, 4321)
  expect(() => openMasterKey(at('master.key'))).toThrow(isUnsafe)
})
