import { rm } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ADMIN_CALLS, ADMIN_PREFIX } from '../../src/admin-api.ts'
import { SCRAPES } from '../../src/http/metrics-server.ts'
import { freePort } from '../harness/free-port.ts'
import { type HeldSockets, holdSockets } from '../harness/held-sockets.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { newToken } from '../harness/metabind.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { get } from '../simulate/request.ts'

/** The socket for Prometheus alone, as systemd hands it over. */

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let held: HeldSockets
let instance: Instance
let base: string

beforeAll(async () => {
  scratch = await scratchDirectory()
  const port = await freePort()
  base = `http://127.0.0.1:${port}`
  held = holdSockets({
    metadata: join(scratch.path, 'metadata.sock'),
    admin: join(scratch.path, 'admin.sock'),
    metrics: port,
  })
  instance = await startInstance(scratch.path, { agent: held.agent })
})

afterAll(async () => {
  await instance?.stop()
  held?.close()
  await rm(scratch.path, { recursive: true, force: true })
})

interface Answer {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly body: string
}

/** Asks as soon as one may. */
async function ask(method: string, path: string, body = ''): Promise<Answer> {
  for (;;) {
    const answer = await askOnce(method, path, body)
    if (answer.status !== 429) return answer
    await new Promise((resolve) => setTimeout(resolve, Number(answer.retryAfter) * 1000))
  }
}

function askOnce(method: string, path: string, body = ''): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const headers = { 'content-type': 'application/json' }
  const sent = request(`${base}${path}`, { method, headers, agent: false }, async (answer) => {
    const chunks = await answer.toArray()
    const retryAfter = answer.headers['retry-after']
    resolve({ status: answer.statusCode ?? 0, retryAfter, body: Buffer.concat(chunks).toString() })
  })
  sent.on('error', reject)
  sent.end(method === 'GET' ? '' : body)
  return promise
}

test('it has what the admin socket has of metrics', async () => {
  const { status, body } = await ask('GET', '/metrics')
  expect(status).toBe(200)
  const names = (text: string) => [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
  const admin = await get(`unix:${instance.adminSocket}`, '/metabind/v1/metrics')
  expect(names(body)).toEqual(names(admin.body))
  expect(names(body)).toContain('metabind_ready')
})

test('no call of the admin socket is there', async () => {
  const token = await newToken(instance)
  const calls = Object.values(ADMIN_CALLS).map(({ method, name }) => [method, name] as const)
  for (const [method, name] of [...calls, ['GET', 'metrics'], ['GET', 'healthz']] as const) {
    for (const prefix of [ADMIN_PREFIX, '/']) {
      if (prefix === '/' && name === 'metrics') continue
      const { status } = await ask(method, `${prefix}${name}`, '{"all":true}')
      expect([method, prefix, name, status]).toEqual([method, prefix, name, 404])
    }
  }
  const inspected = await get(
    `unix:${instance.metadataSocket}`,
    '/latest/meta-data/instance-id',
    token,
  )
  expect(inspected.status).toBe(200)
})

test('nor is metadata, or another method', async () => {
  const statuses: number[] = []
  for (const [method, path] of [
    ['PUT', '/latest/api/token'],
    ['GET', '/latest/meta-data/instance-id'],
    ['POST', '/metrics'],
    ['DELETE', '/metrics'],
    ['GET', '/metrics/'],
    ['GET', '/'],
  ] as const) {
    statuses.push((await ask(method, path)).status)
  }
  expect(statuses).toEqual(statuses.map(() => 404))
})

test('who asks too often is told when to come again', async () => {
  const answers = await Promise.all(
    Array.from({ length: 2 * SCRAPES.burst }, () =>
      askOnce('GET', '/metrics').catch(() => undefined),
    ),
  )
  const refused = answers.filter((answer) => answer?.status === 429)
  expect(refused.length).toBeGreaterThan(0)
  expect(refused[0]).toMatchObject({ retryAfter: '1', body: expect.stringMatching(/^LIMIT_RATE/) })
  expect((await ask('GET', '/metrics')).status).toBe(200)
})
