import { once } from 'node:events'
import { Agent } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { canBecomeNobody, curlAs, NOBODY } from '../harness/as-uid.ts'
import { connectionsOpen } from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { get, openSession, putToken } from '../simulate/request.ts'

const TTL = ['X-aliyun-ecs-metadata-token-ttl-seconds', '60']
const CONFIG = `[limits]
mint_burst = 20
mints_per_second = 0.5
miss_burst = 30
misses_per_second = 0.5
connections = 12
connections_per_uid = 8
`

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let instance: Instance
let base: string

beforeAll(async () => {
  scratch = await scratchDirectory()
  instance = await startInstance(scratch.path, { config: CONFIG })
  base = `unix:${instance.metadataSocket}`
})

afterAll(async () => {
  await instance?.stop()
  await scratch?.[Symbol.asyncDispose]()
})

const auditOf = (code: string) =>
  instance.agent.until((record) => record.audit === true && record.code === code)

describe('a user who asks too often', () => {
  test('for tokens gets 429 with the time to wait, and a record; another user gets a token', async () => {
    const statuses: (number | undefined)[] = []
    for (let made = 0; made < 25; made += 1) statuses.push((await putToken(base, TTL)).status)
    // The bucket gains a token every two seconds while this runs.
    expect(statuses.slice(0, 20)).toEqual(Array(20).fill(200))
    expect(statuses.at(-1)).toBe(429)
    const refused = await putToken(base, TTL)
    expect(refused).toMatchObject({ status: 429, body: 'LIMIT_RATE: This user asks too often.' })
    expect(['1', '2']).toContain(refused.headers['retry-after'])
    expect(await auditOf('LIMIT_RATE')).toMatchObject({
      event: 'limit.refused',
      verdict: 'refused',
      caller: { uid: process.getuid?.() },
      detail: 'mint',
      path: '/latest/api/token',
    })
    const header = `${TTL[0]}: 60`
    if (canBecomeNobody) {
      const other = await curlAs(
        NOBODY,
        instance.metadataSocket,
        '/latest/api/token',
        '-XPUT',
        '-H',
        header,
      )
      expect(other.status).toBe(200)
    }
    await sleep(Number(refused.headers['retry-after']) * 1000)
    expect((await putToken(base, TTL)).status).toBe(200)
  })

  test('for what is not cached gets 429, and the cloud is not asked', async () => {
    await sleep(2000)
    const token = await openSession(base)
    // Absent paths: whatever is cached, each of these is new.
    const read = (name: string) => get(base, `/latest/meta-data/absent-${name}`, token)
    let answered = await read('first')
    for (let count = 0; count < 40 && answered.status === 404; count += 1) {
      answered = await read(String(count))
    }
    expect(answered.status).toBe(429)
    expect(['1', '2']).toContain(answered.headers['retry-after'])
    const asked = instance.cloud?.requests.length
    expect((await read('refused')).status).toBe(429)
    expect(instance.cloud?.requests.length).toBe(asked)
  })
})

describe('answers', () => {
  // Kept, and one fewer than a user may have: of a closed one the agent knows a moment later.
  const CONNECTIONS = 7
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })

  /** A token, as soon as the tests before leave one. */
  async function patientToken(): Promise<string> {
    for (let tries = 0; tries < 5; tries += 1) {
      const { status, headers, body } = await putToken(base, TTL)
      if (status === 200) return body
      await sleep(Number(headers['retry-after']) * 1000)
    }
    throw new Error('no token in five tries')
  }

  async function msFor(count: number, ask: () => Promise<{ status: number | undefined }>) {
    const startedAtMs = performance.now()
    const statuses = new Set<number | undefined>()
    let fastestMs = Number.POSITIVE_INFINITY
    for (let asked = 0; asked < count; asked += CONNECTIONS) {
      const turnAtMs = performance.now()
      const answers = await Promise.all(Array.from({ length: CONNECTIONS }, ask))
      for (const { status } of answers) statuses.add(status)
      fastestMs = Math.min(fastestMs, performance.now() - turnAtMs)
    }
    return { ms: performance.now() - startedAtMs, fastestMs, statuses: [...statuses] }
  }

  const PAUSE_MS = 100

  test('to a user who floods wrong tokens wait, those to its good token do not', async () => {
    const token = await patientToken()
    const wrong = await msFor(800, () => get(base, '/metabind/v1/whoami', 'wrong', agent))
    // Some 200 at once and 50 a second; of the others, each turn of seven waits 100 ms.
    expect(wrong.statuses).toEqual([401])
    expect(wrong.ms).toBeGreaterThan(3000)
    const good = await msFor(400, () => get(base, '/metabind/v1/whoami', token, agent))
    expect(good.statuses).toEqual([200])
    // A pause is a pause in every turn: on a busy machine too, one of fifty turns shows that there is none.
    expect(good.fastestMs).toBeLessThan(PAUSE_MS)
    const absent = await msFor(400, () => get(base, '/planted/absent', token, agent))
    expect(absent.statuses).toEqual([404])
    expect(absent.fastestMs).toBeLessThan(PAUSE_MS)
    agent.destroy()
    await expect.poll(() => connectionsOpen(instance.adminSocket)).toBe(0)
  })
})

describe('connections', () => {
  async function open(count: number): Promise<Socket[]> {
    const sockets = Array.from({ length: count }, () => connect(instance.metadataSocket))
    // The agent takes them in this order, before whoever comes later.
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    return sockets
  }

  /** The agent notices a moment later that connections were closed. */
  async function eventuallyServed(): Promise<boolean> {
    for (let tries = 0; tries < 50; tries += 1) {
      const { status } = await get(base, '/')
      if (status === 403) return true
      expect(status).toBe(503)
      await sleep(100)
    }
    return false
  }

  test('beyond the share of a user are told so and closed; another user still gets one', async () => {
    // Root of the host has the one that is kept for it as well.
    const held = await open(process.getuid?.() === 0 ? 9 : 8)
    const refused = connect(instance.metadataSocket)
    refused.write('PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n\r\n')
    const answer = await text(refused)
    expect(answer).toMatch(/^HTTP\/1\.1 503 .*\r\n/)
    expect(answer).toContain('\r\nRetry-After: 1\r\n')
    expect(answer).toMatch(/\r\n\r\nLIMIT_CONNECTIONS: Too many connections are open\.$/)
    if (canBecomeNobody) {
      expect((await curlAs(NOBODY, instance.metadataSocket, '/')).status).toBe(403)
    }
    const record = await auditOf('LIMIT_CONNECTIONS')
    expect(record).toMatchObject({ event: 'limit.refused', caller: { uid: process.getuid?.() } })
    for (const socket of held) socket.destroy()
    expect(await eventuallyServed()).toBe(true)
  })

  test('that are closed are counted back, however often', async () => {
    for (let round = 0; round < 5; round += 1) {
      const held = await open(8)
      for (const socket of held) socket.destroy()
      expect(await eventuallyServed()).toBe(true)
    }
  })
})
