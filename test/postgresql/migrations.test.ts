import { afterAll, beforeAll, expect, test } from 'vitest'
import { migratePostgresql } from '../../src/registrar-repository/postgresql-migrate.ts'
import { postgresqlRepository } from '../../src/registrar-repository/postgresql-repository.ts'
import { POSTGRESQL_MIGRATIONS } from '../../src/registrar-repository/postgresql-schema.ts'
import type { PostgresqlPlace } from '../../src/registrar-repository/postgresql-session.ts'
import { enrolledRow, NOW_MS, otherRow } from '../registrar/enrolled.ts'
import { type Cluster, startCluster } from './cluster.ts'

const stack = new AsyncDisposableStack()
let cluster: Cluster
beforeAll(async () => {
  cluster = stack.use(await startCluster())
})
afterAll(() => stack.disposeAsync())

/** Tables with their columns, of what is in it. */
async function shapeOf({ database }: PostgresqlPlace): Promise<readonly unknown[]> {
  const { rows } = await cluster.sql(
    database,
    `SELECT table_name, column_name, data_type, is_nullable, collation_name
     FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2`,
  )
  const indexes = await cluster.sql(
    database,
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname",
  )
  return [...rows, ...indexes.rows]
}

const versionsIn = async ({ database }: PostgresqlPlace) =>
  (await cluster.sql(database, 'SELECT version FROM schema_versions ORDER BY 1')).rows.map(
    ({ version }) => version,
  )

test.each(POSTGRESQL_MIGRATIONS.map((_, at) => at + 1))(
  'from version %i on, with what it has, it comes to the present one',
  async (version) => {
    const fresh = await cluster.newDatabase()
    await migratePostgresql(fresh, 'make')
    const older = await cluster.newDatabase()
    await migratePostgresql(older, 'make', POSTGRESQL_MIGRATIONS.slice(0, version))
    const row = enrolledRow()
    await cluster.sql(
      older.database,
      `INSERT INTO instances VALUES ('${row.iid}', 1, '${row.dialect}', '${row.instanceId}', '${row.ekName}',
         '${row.akName}', '${row.state}', '${JSON.stringify(row)}')`,
    )
    const repository = await postgresqlRepository(older, 'refuse')
    expect(await repository.instance(row.iid)).toEqual(row)
    expect(await repository.commit({ instances: [otherRow(2)], events: [] }, NOW_MS)).toBe(true)
    await repository.close()
    expect(await shapeOf(older)).toEqual(await shapeOf(fresh))
    expect(await versionsIn(older)).toEqual(POSTGRESQL_MIGRATIONS.map((_, at) => at + 1))
  },
)

test('replicas that migrate at once do it once', async () => {
  const place = await cluster.newDatabase()
  await migratePostgresql(place, 'make', POSTGRESQL_MIGRATIONS.slice(0, 1))
  await Promise.all(Array.from({ length: 6 }, () => migratePostgresql(place, 'make')))
  expect(await versionsIn(place)).toEqual(POSTGRESQL_MIGRATIONS.map((_, at) => at + 1))
})

test('a migration that fails leaves nothing behind', async () => {
  const place = await cluster.newDatabase()
  await migratePostgresql(place, 'make')
  const before = await shapeOf(place)
  const broken = [...POSTGRESQL_MIGRATIONS, 'CREATE TABLE more (a TEXT); NONSENSE']
  await expect(migratePostgresql(place, 'make', broken)).rejects.toThrow(/REGISTRAR_DATABASE|42601/)
  expect(await shapeOf(place)).toEqual(before)
  await (await postgresqlRepository(place, 'refuse')).close()
})

test('a database of a later version is refused', async () => {
  const place = await cluster.newDatabase()
  const later = [...POSTGRESQL_MIGRATIONS, 'CREATE TABLE more (a TEXT)']
  await migratePostgresql(place, 'make', later)
  await expect(postgresqlRepository(place, 'make')).rejects.toThrow(/later version/)
})

test('a replica of the version before goes on beside the new one', async () => {
  const place = await cluster.newDatabase()
  const before = await postgresqlRepository(place, 'make')
  await migratePostgresql(place, 'make', [...POSTGRESQL_MIGRATIONS, 'CREATE TABLE more (a TEXT)'])
  expect(await before.commit({ instances: [enrolledRow()], events: [] }, NOW_MS)).toBe(true)
  await before.close()
})

test('once the tables are there, a role that may only read and write rows is enough', async () => {
  const place = await cluster.newDatabase()
  await migratePostgresql(place, 'make')
  await cluster.sql(
    place.database,
    `CREATE ROLE rows_only LOGIN PASSWORD '${place.password()?.reveal()}';
     GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO rows_only`,
  )
  const repository = await postgresqlRepository({ ...place, user: 'rows_only' }, 'make')
  const change = { instances: [enrolledRow()], events: [{ event: 'a' }] }
  expect(await repository.commit(change, NOW_MS)).toBe(true)
  await repository.close()
})

test('a database in another encoding is refused', async () => {
  const { database, ...place } = await cluster.newDatabase()
  await cluster.sql(
    database,
    "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
  )
  await expect(postgresqlRepository({ ...place, database: 'latin' }, 'make')).rejects.toThrow(
    /UTF8/,
  )
})
