import { mkdtemp, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { openClient } from 'metabind/client'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { ADMIN_CALLS } from '../../src/admin-api.ts'
import { callAdmin } from '../../src/admin-client.ts'
import { type Instance, startInstance } from '../harness/instance.ts'

let directory: string
let instance: Instance

beforeAll(async () => {
  directory = await mkdtemp('/tmp/sdk-')
  instance = await startInstance(directory, { role: 'app-role' })
})

afterAll(async () => {
  await instance.stop()
  await rm(directory, { recursive: true, force: true })
})

beforeEach(() => instance.cloud?.faults.clear())

const open = (ttlSeconds?: number) =>
  openClient({
    socket: instance.metadataSocket,
    ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
  })

function issued(): number {
  return instance.agent.records.filter(({ event }) => event === 'token.issued').length
}

test('get reads below meta-data, and absolute paths as they are', async () => {
  const client = open()
  expect((await client.get('instance-id')).toString()).toBe(instance.cloud?.instanceId)
  expect((await client.get('/latest/meta-data/region-id')).toString()).toBe('cn-hangzhou')
})

test('many reads at once share one token', async () => {
  const before = issued()
  const client = open()
  await Promise.all(Array.from({ length: 20 }, () => client.get('region-id')))
  await client.get('zone-id')
  await instance.agent.until(() => issued() > before)
  expect(issued() - before).toBe(1)
})

test('a token is renewed before it ends', async () => {
  const client = open(1)
  const first = (await client.token()).reveal()
  expect((await client.token()).reveal()).toBe(first)
  await sleep(1000)
  expect((await client.token()).reveal()).not.toBe(first)
})

test('a revoked token is replaced, once, and the read succeeds', async () => {
  const client = open()
  const revoked = (await client.token()).reveal()
  const sockets = { metadata: instance.metadataSocket, admin: instance.adminSocket }
  await callAdmin(sockets, ADMIN_CALLS.revoke, { token: revoked })
  expect((await client.get('region-id')).toString()).toBe('cn-hangzhou')
  expect((await client.token()).reveal()).not.toBe(revoked)
})

test('a client outlives the agent that it began with', async () => {
  const client = open()
  await client.get('region-id')
  await instance.restartAgent()
  expect((await client.get('region-id')).toString()).toBe('cn-hangzhou')
})

test('credentials of the role of the instance, and of a named one', async () => {
  const client = open()
  const found = await client.credentials()
  expect(found).toMatchObject({ role: 'app-role', accessKeyId: expect.stringMatching(/^STS\./) })
  expect(found.expiration.getTime()).toBeGreaterThan(Date.now())
  expect(JSON.stringify(found)).not.toContain(found.accessKeySecret.reveal())
  const named = await client.credentials('app-role')
  expect(named.accessKeyId).toBe(found.accessKeyId)
})

test.each([
  ['a role that is not there', 'other-role', 'METADATA_ABSENT'],
  ['a role that would leave its directory', '../../../user-data', 'METADATA_ABSENT'],
])('%s', async (_what, role, code) => {
  await expect(open().credentials(role)).rejects.toMatchObject({ code })
})

test('no agent: SOCKET_ABSENT', async () => {
  const client = openClient({ socket: `${directory}/no.sock` })
  await expect(client.get('instance-id')).rejects.toMatchObject({ code: 'SOCKET_ABSENT' })
})

test('watch tells a value once, then its changes, and rides out a reboot and its old token', async () => {
  const ending = new AbortController()
  const role = await open().credentials()
  const path = `ram/security-credentials/${role.role}`
  const values = open().watch(path, { everyMs: 50, signal: ending.signal })
  const first = (await values.next()).value
  expect(JSON.parse(String(first)).AccessKeyId).toBe(role.accessKeyId)
  const next = values.next()
  instance.cloud?.rotateCredentials()
  await instance.reboot()
  expect(JSON.parse(String((await next).value)).AccessKeyId).not.toBe(role.accessKeyId)
  const last = values.next()
  ending.abort()
  expect(await last).toEqual({ value: undefined, done: true })
})

test.each([Number.NaN, 0, -1, 2 ** 31, Number.POSITIVE_INFINITY])(
  'watch refuses a wait of %d milliseconds, which timers take for one',
  async (everyMs) => {
    const values = open().watch('instance-id', { everyMs })
    await expect(values.next()).rejects.toBeInstanceOf(RangeError)
  },
)

test('watch says undefined for what is not there yet', async () => {
  const values = open().watch('instance/spot/termination-time', { everyMs: 50 })
  expect(await values.next()).toEqual({ value: undefined, done: false })
  await values.return()
})
