import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresqlRepository } from '../../src/registrar-repository/postgresql-repository.ts'
import { type RegistrarProcess, startRegistrarProcess } from '../fleet/registrar-process.ts'
import { type Cluster, startCluster, storageToml } from './cluster.ts'
import { FLEET_RULES, fleetLoad, judgeLoad } from './fleet-load.ts'

/** A server that goes away under a registrar that stays. */

const INSTANCES = 36
const RESTARTS = 3

const stack = new AsyncDisposableStack()
let cluster: Cluster
beforeAll(async () => {
  cluster = stack.use(await startCluster())
})
afterAll(() => stack.disposeAsync())

async function started(name: string): Promise<RegistrarProcess & { readonly storage: string }> {
  const place = await cluster.newDatabase()
  const storage = storageToml(cluster, place)
  const more = `${storage}${FLEET_RULES}`
  const registrar = await startRegistrarProcess(join(cluster.directory, name), more)
  stack.defer(() => registrar.end('SIGKILL'))
  return { ...registrar, storage: place.database }
}

const tokenFor = (origin: string, iid: string) => {
  const payload = Buffer.from(JSON.stringify({ iid })).toString('base64url')
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: `e30.${payload}.`,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    audience: 'sts.example',
  })
  return fetch(`${origin}/token`, { method: 'POST', body })
}

test('while the server is away all that needs it is 503 with a time to wait, the rest is answered, again and again', async () => {
  const { origin } = await started('away')
  for (let times = 0; times < RESTARTS; times += 1) {
    await cluster.stop(times % 2 === 0 ? 'immediate' : 'fast')
    for (let asked = 0; asked < 12; asked += 1) {
      const refused = await tokenFor(origin, '01'.repeat(16))
      expect(refused.status).toBe(503)
      expect(refused.headers.get('retry-after')).toMatch(/^[0-9]+$/)
      expect(await refused.json()).toMatchObject({ error: 'REGISTRAR_DATABASE' })
    }
    expect((await fetch(`${origin}/jwks.json`)).status).toBe(200)
    expect((await fetch(`${origin}/enrol/nonce`)).status).toBe(200)
    await cluster.start()
    const answered = await tokenFor(origin, '01'.repeat(16))
    expect(await answered.json()).toMatchObject({
      error_description: expect.stringMatching(/^ENROL_UNKNOWN/),
    })
  }
})

test('a server that crashes under load, again and again, loses nothing that was acknowledged', async () => {
  const registrar = await started('crashes')
  let crashes = 0
  const load = await fleetLoad(registrar, { workers: 6, instances: INSTANCES }, async (count) => {
    if (count % (INSTANCES / (RESTARTS + 1)) !== 0 || crashes === RESTARTS) return
    crashes += 1
    await cluster.stop('immediate')
    await cluster.start()
  })
  expect(crashes).toBe(RESTARTS)
  expect(load.enrolled.size).toBe(INSTANCES)
  // What was refused meanwhile said so.
  const refused = [...load.refusals.keys()].filter((what) => what.startsWith('503'))
  expect(refused).toEqual(['503+ REGISTRAR_DATABASE'])
  const repository = await postgresqlRepository(
    { ...(await cluster.newDatabase()), database: registrar.storage },
    'refuse',
  )
  stack.defer(() => repository.close())
  await judgeLoad(load, repository)
})
