import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { keyRing } from '../../src/registrar-keys/key-ring.ts'
import { masterKey } from '../../src/registrar-keys/master-key.ts'
import { sealedKeys } from '../../src/registrar-keys/sealed-keys.ts'
import {
  migratePostgresql,
  postgresqlState,
} from '../../src/registrar-repository/postgresql-migrate.ts'
import { postgresqlRepository } from '../../src/registrar-repository/postgresql-repository.ts'
import { POSTGRESQL_MIGRATIONS } from '../../src/registrar-repository/postgresql-schema.ts'
import { Secret } from '../../src/secret.ts'
import { NOW_MS } from '../registrar/enrolled.ts'
import { type Cluster, startCluster } from './cluster.ts'

const stack = new AsyncDisposableStack()
let cluster: Cluster
beforeAll(async () => {
  cluster = stack.use(await startCluster())
})
afterAll(() => stack.disposeAsync())

test('a look into a database finds its version and keys, and makes and changes nothing', async () => {
  const place = await cluster.newDatabase()
  expect(await postgresqlState(place)).toEqual({ version: 0, keys: [] })
  await migratePostgresql(place, 'make', POSTGRESQL_MIGRATIONS.slice(0, 1))
  expect(await postgresqlState(place)).toEqual({ version: 1, keys: [] })
  const repository = await postgresqlRepository(place, 'make')
  const master = masterKey(new Secret(randomBytes(32)))
  const schedule = { rotateMs: 2_592_000_000, overlapMs: 43_200_000 }
  const nowMs = () => NOW_MS
  await keyRing({
    repository,
    store: sealedKeys(master),
    kinds: ['ES256'],
    nowMs,
    schedule,
  }).refresh()
  await repository.close()
  expect(await postgresqlState(place)).toMatchObject({
    version: POSTGRESQL_MIGRATIONS.length,
    keys: [{ kind: 'ES256' }],
  })
})

test('one that cannot be reached is told as such', async () => {
  const place = await cluster.newDatabase()
  const gone = { ...place, database: 'nothing_of_this_name' }
  await expect(postgresqlState(gone)).rejects.toMatchObject({ code: 'REGISTRAR_DATABASE' })
})
