import { mkdtemp, rm } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Fault } from '../../src/simulate/faults.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { type Answered, INSTANCE_ID_PATH, makeToken, readFresh, refusal } from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { requireRoot } from '../harness/root.ts'

/**
 * What a caller is answered while the source is in trouble. Every read
 * here asks for fresh; what the cache does in an outage is in outage.test.ts.
 */

let directory: string
let instance: Instance
let cloud: Simulator
let token: string
beforeAll(async () => {
  directory = await mkdtemp('/tmp/mb-')
  instance = await startInstance(directory)
  if (instance.cloud === undefined) throw new Error('the instance has a cloud of its own')
  cloud = instance.cloud
  token = await makeToken(instance.metadataSocket)
})
afterAll(async () => {
  await instance?.stop()
  await rm(directory, { recursive: true, force: true })
})
beforeEach((context) => requireRoot(context, 'the cache is read past by root alone'))
afterEach(() => cloud.faults.clear())

/** A read past the cache. The troubles below last a minute or for ever: who waits for them fails. */
function readSoon(path: string): Promise<Answered> {
  return readFresh(instance.metadataSocket, path, token)
}

type Case = readonly [what: string, fault: Fault, refusal: string]

const TROUBLES: readonly Case[] = [
  ['ends the connection', { kind: 'reset' }, '503 SOURCE_DOWN'],
  ['is slow', { kind: 'latency', ms: 60_000 }, '503 SOURCE_DOWN'],
  ['says nothing', { kind: 'stall', at: 'headers' }, '503 SOURCE_DOWN'],
  ['stops in the middle of a body', { kind: 'stall', at: 'body' }, '503 SOURCE_DOWN'],
  ['answers 500', { kind: 'status', code: 500 }, '503 SOURCE_DOWN'],
  ['answers 503', { kind: 'status', code: 503 }, '503 SOURCE_DOWN'],
  ['answers 403', { kind: 'status', code: 403 }, '503 SOURCE_DOWN'],
  ['answers 429', { kind: 'status', code: 429 }, '503 SOURCE_DOWN'],
  ['cuts a body in half', { kind: 'truncate' }, '502 SOURCE_NONSENSE'],
  ['cuts a body at its start', { kind: 'truncate', bodyBytes: 0 }, '502 SOURCE_NONSENSE'],
  ['sends too much, and says so', { kind: 'oversize', framing: 'length' }, '502 SOURCE_NONSENSE'],
  ['sends too much in chunks', { kind: 'oversize', framing: 'chunked' }, '502 SOURCE_NONSENSE'],
  ['does not speak HTTP', { kind: 'garbage', at: 'response' }, '502 SOURCE_NONSENSE'],
]

const READ_TROUBLES: readonly Case[] = [
  ...TROUBLES,
  ['answers 404', { kind: 'status', code: 404 }, '404 METADATA_ABSENT'],
  ['answers 201', { kind: 'status', code: 201, body: 'x' }, '502 SOURCE_NONSENSE'],
  ['answers 206', { kind: 'status', code: 206, body: 'x' }, '502 SOURCE_NONSENSE'],
  ['redirects', { kind: 'status', code: 302, headers: { Location: '/' } }, '502 SOURCE_NONSENSE'],
]

const TOKEN_TROUBLES: readonly Case[] = [
  ...TROUBLES,
  ['answers 404', { kind: 'status', code: 404 }, '503 SOURCE_DOWN'],
  ['gives an empty token', { kind: 'empty' }, '502 SOURCE_NONSENSE'],
  ['gives a token of random bytes', { kind: 'garbage', at: 'body' }, '502 SOURCE_NONSENSE'],
]

/** A refusal in our own words: nothing of the source's answer is in it. */
function expectRefusal(answered: Answered, expected: string): void {
  expect(refusal(answered)).toBe(expected)
  expect(answered.body).toMatch(/^[A-Z_]+: [A-Z][a-z ]+\.$/)
  expect(answered.headers['retry-after']).toBe(expected.startsWith('503') ? '1' : undefined)
  expect(answered.headers['cache-control']).toBe('no-store')
}

describe('a read of which the source', () => {
  test.each(READ_TROUBLES)('%s', async (_, fault, expected) => {
    cloud.faults.set({ ...fault, method: 'GET' })
    expectRefusal(await readSoon(INSTANCE_ID_PATH), expected)
    cloud.faults.clear()
    expect((await readSoon(INSTANCE_ID_PATH)).body).toBe(cloud.instanceId)
  })
})

describe('a read for which a token is needed, and the source', () => {
  test.each(TOKEN_TROUBLES)('%s', async (_, fault, expected) => {
    cloud.faults.set({ kind: 'reject-tokens', method: 'GET', times: 1 })
    cloud.faults.set({ ...fault, method: 'PUT' })
    expectRefusal(await readSoon(INSTANCE_ID_PATH), expected)
    cloud.faults.clear()
    // A read that comes while a renewal is failing shares its end; the next makes its own.
    await expect.poll(async () => (await readSoon(INSTANCE_ID_PATH)).body).toBe(cloud.instanceId)
  })
})

test('one slow read holds up no other, and none makes a token wait', async () => {
  cloud.faults.set({ kind: 'latency', ms: 60_000, path: '/latest/meta-data/mac' })
  const answers: string[] = []
  const noted = (name: string) => (answered: Answered) => {
    answers.push(name)
    return answered
  }
  const slow = Array.from({ length: 40 }, () =>
    readSoon('/latest/meta-data/mac').then(noted('slow')),
  )
  expect((await readSoon(INSTANCE_ID_PATH).then(noted('other'))).status).toBe(200)
  await makeToken(instance.metadataSocket)
  expect(answers).toEqual(['other'])
  for (const answered of await Promise.all(slow)) expectRefusal(answered, '503 SOURCE_DOWN')
})

test('callers of one path share one read upstream', async () => {
  cloud.faults.set({ kind: 'latency', ms: 100, times: 1 })
  // Of this path: a slow reader of before may still be on its way.
  const asked = () => cloud.requests.filter(({ target }) => target === INSTANCE_ID_PATH).length
  const before = asked()
  const reads = await Promise.all(Array.from({ length: 50 }, () => readSoon(INSTANCE_ID_PATH)))
  expect(reads.map(({ body }) => body)).toEqual(Array(50).fill(cloud.instanceId))
  expect(asked() - before).toBe(1)
})

// Last: the cloud of the cases above ends.
test('while the source is down, tokens are made and reads refused; both work after it', async () => {
  const { port } = new URL(cloud.url)
  await cloud.close()
  const made = await makeToken(instance.metadataSocket)
  expectRefusal(await readSoon(INSTANCE_ID_PATH), '503 SOURCE_DOWN')
  expect((await readSoon('/metabind/v1/whoami')).status).toBe(200)
  const again = await startSimulator({
    instanceId: cloud.instanceId,
    listen: { host: '127.0.0.1', port: Number(port) },
  })
  // The session at the source is gone with it: the agent makes another.
  const answered = await readFresh(instance.metadataSocket, INSTANCE_ID_PATH, made)
  expect([answered.status, answered.body]).toEqual([200, cloud.instanceId])
  await again.close()
})
