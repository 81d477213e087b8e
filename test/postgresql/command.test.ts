import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { decodeLine } from '../../src/audit/chain.ts'
import { postgresqlRepository } from '../../src/registrar-repository/postgresql-repository.ts'
import type { PostgresqlPlace } from '../../src/registrar-repository/postgresql-session.ts'
import { registrarCommand } from '../fleet/registrar-command.ts'
import { enrolledRow, NOW_MS, otherRow } from '../registrar/enrolled.ts'
import { type Cluster, startCluster, storageToml } from './cluster.ts'

/** The administrator's verbs on a database that replicas share. */

const stack = new AsyncDisposableStack()
let cluster: Cluster
beforeAll(async () => {
  cluster = stack.use(await startCluster())
})
afterAll(() => stack.disposeAsync())

async function configured(place: PostgresqlPlace) {
  const config = join(cluster.directory, `${place.database}.toml`)
  const storage = storageToml(cluster, place)
  await writeFile(config, `url = "https://registrar.example"\n${storage}`)
  return (...args: string[]) => registrarCommand({ config }, ...args)
}

test('list, show, approve and events work on PostgreSQL', async () => {
  const place = await cluster.newDatabase()
  const repository = await postgresqlRepository(place, 'make')
  const rows = [enrolledRow({ state: 'held' }), otherRow(2)]
  await repository.commit({ instances: rows, events: [{ event: 'test' }] }, NOW_MS)
  await repository.close()
  const run = await configured(place)
  const { stdout, stderr, code } = await run('list', '--json')
  expect([code, stderr]).toEqual([0, ''])
  expect(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual(rows)
  expect((await run('show', 'i-2')).stdout).toMatch(/^state {5}active$/m)
  expect((await run('approve', 'i-one')).stdout).toContain('active')
  const lines = (await run('events')).stdout.trim().split('\n').map(decodeLine)
  expect(lines.map((line) => line?.record.event)).toEqual([
    'chain.start',
    'test',
    'instance.approved',
  ])
})

test('a database that no registrar has written to is refused, and nothing is made in it', async () => {
  const place = await cluster.newDatabase()
  const { stderr, code } = await (await configured(place))('list')
  expect(code).toBe(1)
  expect(stderr).toMatch(/REGISTRAR_DATABASE.*No registrar has written/)
  const { rows } = await cluster.sql(
    place.database,
    "SELECT to_regclass('schema_versions') AS made",
  )
  expect(rows).toEqual([{ made: null }])
})

test('what is wrong with the server is said in one line, without the password', async () => {
  const place = { ...(await cluster.newDatabase()), database: 'absent' }
  const { stderr, code } = await (await configured(place))('list')
  expect(code).toBe(1)
  expect(stderr).toMatch(/^metabind-registrar: REGISTRAR_DATABASE: .*3D000.*absent.*\n$/)
  expect(stderr).not.toContain(place.password()?.reveal())
})
