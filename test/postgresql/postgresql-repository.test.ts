import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { postgresqlRepository } from '../../src/registrar-repository/postgresql-repository.ts'
import type { PostgresqlPlace } from '../../src/registrar-repository/postgresql-session.ts'
import { enrolledRow, NOW_MS, pendingRow } from '../registrar/enrolled.ts'
import { repositoryContract } from '../registrar-repository/repository-contract.ts'
import { type Cluster, startCluster } from './cluster.ts'
import { startPgbouncer } from './pgbouncer.ts'

const stack = new AsyncDisposableStack()
let cluster: Cluster
beforeAll(async () => {
  cluster = stack.use(await startCluster())
})
afterAll(() => stack.disposeAsync())

// What a test has opened is closed when it ends: the server has so many connections, and no more.
let own: AsyncDisposableStack
beforeEach(() => {
  own = new AsyncDisposableStack()
})
afterEach(() => own.disposeAsync())

async function opened(place: PostgresqlPlace) {
  const repository = await postgresqlRepository(place, 'make')
  own.defer(() => repository.close())
  return repository
}

repositoryContract('PostgreSQL', async () => {
  const place = { ...(await cluster.newDatabase()), connections: 2 }
  return { repository: await opened(place), reopened: () => opened(place) }
})

repositoryContract('PostgreSQL behind pgbouncer in transaction mode', async () => {
  const bouncer = own.use(await startPgbouncer(cluster, await cluster.newDatabase()))
  const place = { ...bouncer.place, connections: 2 }
  return { repository: await opened(place), reopened: () => opened(place) }
})

test('a row of another form is a fault of the database, and no instance', async () => {
  const place = await cluster.newDatabase()
  const repository = await opened(place)
  await repository.commit({ instances: [enrolledRow()], events: [] }, NOW_MS)
  await cluster.sql(place.database, "UPDATE instances SET document = '{}'")
  await expect(repository.instance(enrolledRow().iid)).rejects.toMatchObject({
    code: 'REGISTRAR_DATABASE',
  })
})

test('what a replica whose clock is ahead clears away is not used again at one whose clock is right', async () => {
  const place = await cluster.newDatabase()
  const right = await opened(place)
  const ahead = await opened(place)
  const once = { id: 'ab'.repeat(32), expiresAtMs: NOW_MS + 1000 }
  const pending = pendingRow()
  const bounds = { pending: 9, perSource: 9 }
  expect(await right.takeOnce(once, NOW_MS)).toBe(true)
  expect(await right.addPending(pending, bounds, NOW_MS)).toBe('added')
  const aheadMs = NOW_MS + 60_000
  const other = pendingRow({ id: '0c'.repeat(16), nonce: '0d'.repeat(64), expiresAtMs: aheadMs })
  await ahead.takeOnce({ id: 'cd'.repeat(32), expiresAtMs: aheadMs }, aheadMs)
  expect(await ahead.addPending(other, { pending: 1, perSource: 1 }, aheadMs)).toBe('added')
  expect(await right.takeOnce(once, NOW_MS + 1)).toBe(false)
  expect(await right.addPending(pending, bounds, NOW_MS + 1)).toBe('used')
  // And some time later it is cleared away.
  const later = await opened(place)
  const laterMs = NOW_MS + 600_000
  await later.takeOnce({ id: 'ef'.repeat(32), expiresAtMs: laterMs + 1 }, laterMs)
  const { rows } = await cluster.sql(place.database, 'SELECT id FROM exchanged')
  expect(rows).toEqual([{ id: 'ef'.repeat(32) }])
})
