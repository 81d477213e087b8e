import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { IDENTITY_TOKEN_SECONDS_MAX } from '../../src/format/identity-token.ts'
import { markRestored, usableFromMs } from '../../src/registrar-repository/restore-mark.ts'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { NOW_MS } from '../registrar/enrolled.ts'

test('after a restore nothing is usable that an instance can have made before, by its own clock', async () => {
  const directory = mkdtempSync('/tmp/metabind-restored-')
  const repository = sqliteRepository(join(directory, 'r.db'))
  onTestFinished(async () => {
    await repository.close()
    rmSync(directory, { recursive: true })
  })
  expect(await usableFromMs(repository)).toBe(0)
  await markRestored(repository, 'uid 0', NOW_MS)
  expect(await usableFromMs(repository)).toBe(NOW_MS + 60_000)
  await markRestored(repository, 'uid 0', NOW_MS + 5000)
  expect(await usableFromMs(repository)).toBe(NOW_MS + 65_000)
  // It is forgotten when the last such token is over.
  const overMs = NOW_MS + 65_000 + IDENTITY_TOKEN_SECONDS_MAX * 1000
  await repository.takeOnce({ id: '00', expiresAtMs: overMs + 1 }, overMs)
  expect(await usableFromMs(repository)).toBe(0)
  const [, , event = ''] = await repository.events(0, 9)
  expect(JSON.parse(event)).toMatchObject({ event: 'database.restored', by: 'uid 0' })
})
