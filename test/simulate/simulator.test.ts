import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { requestLog } from '../../src/simulate/request-log.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { get, send } from './request.ts'

const ID = '/latest/meta-data/instance-id'
let simulator: Simulator
beforeAll(async () => {
  simulator = await startSimulator({ tokens: 'optional', role: 'EcsRole', control: true })
})
afterAll(() => simulator.close())
afterEach(() => simulator.faults.clear())

const post = (path: string, body: string) =>
  fetch(`${simulator.url}/_simulator/${path}`, { method: 'POST', body })

describe('requests', () => {
  test('are recorded as received, with the status sent', async () => {
    await send(simulator.url, 'GET', `/${ID}?`, ['X-Odd', 'a', 'x-odd', 'b'])
    expect(simulator.requests.at(-1)).toEqual({
      method: 'GET',
      target: `/${ID}?`,
      rawHeaders: expect.arrayContaining(['X-Odd', 'a', 'x-odd', 'b']),
      status: 200,
    })
  })

  test('have the status of a fault, or none where none was sent', async () => {
    simulator.faults.set({ kind: 'status', code: 503, times: 1 })
    simulator.faults.set({ kind: 'reset', times: 1 })
    await get(simulator.url, ID)
    await get(simulator.url, ID).catch(() => undefined)
    expect(simulator.requests.slice(-2).map(({ status }) => status)).toEqual([503, undefined])
  })

  test('are the last 10,000', () => {
    const log = requestLog()
    for (let i = 0; i < 10_005; i++) log.add({ method: 'GET', target: `/${i}`, rawHeaders: [] })
    expect(log.requests).toHaveLength(10_000)
    expect([log.requests.at(0)?.target, log.requests.at(-1)?.target]).toEqual(['/5', '/10004'])
  })
})

describe('/_simulator/', () => {
  test('sets, lists and clears faults', async () => {
    const fault = { kind: 'status', code: 500, path: ID }
    expect((await post('faults', JSON.stringify(fault))).status).toBe(204)
    expect((await get(simulator.url, ID)).status).toBe(500)
    expect(JSON.parse((await get(simulator.url, '/_simulator/faults')).body)).toEqual([fault])
    expect((await send(simulator.url, 'DELETE', '/_simulator/faults')).status).toBe(204)
    expect((await get(simulator.url, ID)).status).toBe(200)
  })

  test('says what is wrong with a fault', async () => {
    const response = await post('faults', '{"kind":"latency"}')
    expect([response.status, await response.text()]).toEqual([
      400,
      expect.stringContaining('not a fault: ms: '),
    ])
  })

  test('shows the requests, and meets no fault and no record itself', async () => {
    simulator.faults.set({ kind: 'reset' })
    const before = simulator.requests.length
    const shown = JSON.parse((await get(simulator.url, '/_simulator/requests')).body)
    expect(shown).toHaveLength(before)
    expect(simulator.requests).toHaveLength(before)
  })

  test('exchanges the role, and takes it away', async () => {
    const list = '/latest/meta-data/ram/security-credentials/'
    const role = async () => (await get(simulator.url, list)).body
    const before = await role()
    expect((await post('role', 'Other')).status).toBe(204)
    expect(await role()).toBe('Other')
    expect((await post('role', 'a/b')).status).toBe(400)
    expect((await send(simulator.url, 'DELETE', '/_simulator/role')).status).toBe(204)
    expect(await role()).toBe('Not Found')
    await post('role', before)
  })

  test('rotates credentials', async () => {
    const path = '/latest/meta-data/ram/security-credentials/EcsRole'
    const before = (await get(simulator.url, path)).body
    expect((await post('rotate', '')).status).toBe(204)
    expect((await get(simulator.url, path)).body).not.toBe(before)
  })

  test('gives the certificate', async () => {
    const answered = await get(simulator.url, '/_simulator/certificate')
    expect(answered.body).toBe(simulator.certificatePem)
  })

  test('says what there is', async () => {
    const answered = await get(simulator.url, '/_simulator/constructor')
    expect([answered.status, answered.body]).toEqual([404, expect.stringMatching('POST faults')])
  })
})

test('a simulator listens on a Unix socket', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'simulate-'))
  const path = join(directory, 'ecs.sock')
  await using onSocket = await startSimulator({ tokens: 'optional', listen: { path } })
  expect(onSocket.url).toBe(`unix:${path}`)
  expect((await get(onSocket.url, ID)).body).toBe(onSocket.instanceId)
  await onSocket.close()
  await rm(directory, { recursive: true })
})

test('a port in use is an error', async () => {
  const port = Number(new URL(simulator.url).port)
  await expect(startSimulator({ listen: { port } })).rejects.toThrow('EADDRINUSE')
})

test('close ends a stalled connection, and can be called twice', async () => {
  const other = await startSimulator()
  other.faults.set({ kind: 'stall' })
  const stalled = expect(get(other.url, ID)).rejects.toThrow('socket hang up')
  while (other.requests.length === 0) await new Promise(setImmediate)
  await Promise.all([other.close(), other.close()])
  await stalled
})
