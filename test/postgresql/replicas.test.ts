import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { postgresqlRepository } from '../../src/registrar-repository/postgresql-repository.ts'
import type { PostgresqlPlace } from '../../src/registrar-repository/postgresql-session.ts'
import { type RegistrarProcess, startRegistrarProcess } from '../fleet/registrar-process.ts'
import { type Cluster, startCluster, storageToml } from './cluster.ts'
import { FLEET_RULES, fleetLoad, judgeLoad } from './fleet-load.ts'
import { startHaproxy } from './haproxy.ts'
import { startPgbouncer } from './pgbouncer.ts'

/** Registrars that share nothing but a database and their configuration, as docs/fleet-postgresql.md says. */

const INSTANCES = 40
const WORKERS = 8

const stack = new AsyncDisposableStack()
let cluster: Cluster
beforeAll(async () => {
  cluster = stack.use(await startCluster())
})
afterAll(() => stack.disposeAsync())

/** Starts replicas on one database at the same time. */
async function replicas(place: PostgresqlPlace, count: number): Promise<RegistrarProcess[]> {
  const key = randomBytes(32)
  const storage = storageToml(cluster, place)
  return Promise.all(
    Array.from({ length: count }, async (_, at) => {
      const directory = join(cluster.directory, `${place.database}-${at}`)
      await mkdir(directory)
      await writeFile(join(directory, 'master.key'), key, { mode: 0o600 })
      const replica = await startRegistrarProcess(directory, `${storage}${FLEET_RULES}`)
      stack.defer(() => replica.end('SIGKILL'))
      return replica
    }),
  )
}

const jwksSchema = z.object({ keys: z.array(z.looseObject({ kid: z.string(), alg: z.string() })) })

async function keysOf({ origin }: RegistrarProcess) {
  const response = await fetch(`${origin}/jwks.json`)
  return jwksSchema.parse(await response.json()).keys
}

describe.each([
  ['PostgreSQL', async (place: PostgresqlPlace) => place],
  [
    'pgbouncer in transaction mode',
    async (place: PostgresqlPlace) => stack.use(await startPgbouncer(cluster, place)).place,
  ],
] as const)('replicas on %s', (_, front) => {
  let place: PostgresqlPlace
  beforeAll(async () => {
    place = await front(await cluster.newDatabase())
  })

  test('that start at once on an empty database make its tables and one key of each kind', async () => {
    const [first, second, third] = await replicas(await front(await cluster.newDatabase()), 3)
    if (first === undefined || second === undefined || third === undefined) throw new Error('none')
    // One that looked before another's key was there has it after its next look; a later one at once.
    const seen = (await Promise.all([first, second, third].map(keysOf))).flat()
    const kinds = new Map(seen.map(({ kid, alg }) => [kid, alg]))
    expect([...kinds.values()].toSorted()).toEqual(['ES256', 'RS256'])
    await Promise.all([first, second, third].map((one) => one.end()))
  })

  test('behind haproxy, one of which is killed under load: nothing is lost or issued twice', async () => {
    const [first, second] = await replicas(place, 2)
    if (first === undefined || second === undefined) throw new Error('none')
    const { origin } = stack.use(
      await startHaproxy(cluster.directory, [first.origin, second.origin]),
    )
    const load = await fleetLoad(
      { origin, url: first.url },
      { workers: WORKERS, instances: INSTANCES },
      async (count) => {
        if (count === INSTANCES / 2) await first.end('SIGKILL')
      },
    )
    const repository = await postgresqlRepository(place, 'refuse')
    stack.defer(() => repository.close())
    expect(load.enrolled.size).toBe(INSTANCES)
    expect([...load.enrolled.values()].flat().length).toBeGreaterThan(INSTANCES)
    await judgeLoad(load, repository)
    expect(load.refusals.get('400 invalid_request')).toBeGreaterThan(INSTANCES)
    await second.end()
    expect(second.records.filter(({ level }) => level === 'error')).toEqual([])
  })
})
