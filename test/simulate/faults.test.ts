import { once } from 'node:events'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Fault, parseFault } from '../../src/simulate/faults.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { get, openSession, send } from './request.ts'

const ID = '/latest/meta-data/instance-id'
let simulator: Simulator
beforeAll(async () => {
  simulator = await startSimulator({ tokens: 'optional', role: 'EcsRole' })
})
afterAll(() => simulator.close())
afterEach(() => simulator.faults.clear())

const set = (fault: Fault) => simulator.faults.set(fault)
const status = async (path = ID) => (await get(simulator.url, path)).status

function dial(): ReturnType<typeof connect> {
  const socket = connect(Number(new URL(simulator.url).port), '127.0.0.1')
  socket.write(`GET ${ID} HTTP/1.1\r\nHost: x\r\n\r\n`)
  return socket
}

/** All bytes that a GET of the instance id brings until the server ends the connection. */
async function rawAnswer(): Promise<string> {
  return (await buffer(dial())).toString('latin1')
}

describe('latency', () => {
  test('delays the answer', async () => {
    set({ kind: 'latency', ms: 150 })
    const startMs = performance.now()
    expect((await get(simulator.url, ID)).body).toBe(simulator.instanceId)
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(145)
  })

  test('ends with the simulator', async () => {
    const other = await startSimulator({ tokens: 'optional' })
    other.faults.set({ kind: 'latency', ms: 60_000 })
    const waiting = expect(get(other.url, ID)).rejects.toThrow('socket hang up')
    await expect.poll(() => other.requests.length).toBe(1)
    await other.close()
    await waiting
  })
})

test('status answers instead, with body and headers', async () => {
  set({ kind: 'status', code: 503, body: 'later', headers: { 'Retry-After': '2' } })
  expect(await get(simulator.url, ID)).toMatchObject({
    status: 503,
    body: 'later',
    headers: { 'retry-after': '2' },
  })
})

test('empty answers with no bytes', async () => {
  set({ kind: 'empty' })
  expect(await get(simulator.url, ID)).toMatchObject({
    status: 200,
    body: '',
    headers: { 'content-length': '0' },
  })
})

describe('truncate', () => {
  test('sends half of what Content-Length promises', async () => {
    set({ kind: 'truncate' })
    const [head, body] = (await rawAnswer()).split('\r\n\r\n')
    expect(head).toContain(`\r\nContent-Length: ${simulator.instanceId.length}`)
    expect(body).toBe(simulator.instanceId.slice(0, simulator.instanceId.length / 2))
  })

  test('sends as many bytes as asked, never all', async () => {
    set({ kind: 'truncate', bodyBytes: 3, times: 1 })
    set({ kind: 'truncate', bodyBytes: 1_000, times: 1 })
    expect(await rawAnswer()).toMatch(/\r\n\r\ni-b$/)
    expect(await rawAnswer()).toMatch(new RegExp(`\r\n\r\n${simulator.instanceId.slice(0, -1)}$`))
  })

  test('is an error to a client', async () => {
    set({ kind: 'truncate' })
    await expect(get(simulator.url, ID)).rejects.toThrow('aborted')
  })
})

describe('stall', () => {
  test('at headers sends nothing and keeps the connection', async () => {
    set({ kind: 'stall' })
    expect(await bytesWithin(100)).toBe('')
  })

  test('at body sends headers and half the body and keeps the connection', async () => {
    set({ kind: 'stall', at: 'body' })
    const half = simulator.instanceId.slice(0, simulator.instanceId.length / 2)
    expect(await bytesWithin(100)).toMatch(new RegExp(`^HTTP/1.1 200 OK\r\n[^]*\r\n\r\n${half}$`))
  })

  async function bytesWithin(ms: number): Promise<string> {
    const socket = dial()
    let received = ''
    socket.setEncoding('latin1').on('data', (text) => {
      received += text
    })
    const ended = once(socket, 'end').then(() => 'ended')
    expect(await Promise.race([ended, delay(ms, 'open')])).toBe('open')
    socket.destroy()
    return received
  }
})

test('reset ends the connection without a byte', async () => {
  set({ kind: 'reset' })
  expect(await rawAnswer()).toBe('')
})

test('reset by rst is one of TCP', async () => {
  set({ kind: 'reset', by: 'rst' })
  await expect(get(simulator.url, ID)).rejects.toMatchObject({
    code: 'ECONNRESET',
    errno: expect.any(Number),
  })
})

describe('garbage', () => {
  test('as response is not HTTP', async () => {
    set({ kind: 'garbage' })
    expect((await rawAnswer()).length).toBe(256)
    await expect(get(simulator.url, ID)).rejects.toThrow('Parse Error')
  })

  test('as body is whole and random', async () => {
    set({ kind: 'garbage', at: 'body' })
    const [one, two] = [await get(simulator.url, ID), await get(simulator.url, ID)]
    expect([one.status, one.headers['content-length']]).toEqual([200, '64'])
    expect(one.body).not.toBe(two.body)
  })
})

describe('oversize', () => {
  test('is 16 MiB without Content-Length', async () => {
    set({ kind: 'oversize' })
    const answered = await get(simulator.url, ID)
    expect(answered.headers['content-length']).toBeUndefined()
    expect(answered.body.length).toBe(16 * 1024 * 1024)
  })

  test('is as long as asked, with Content-Length', async () => {
    set({ kind: 'oversize', bytes: 100_001, framing: 'length' })
    const answered = await get(simulator.url, ID)
    expect(answered.headers['content-length']).toBe('100001')
    expect(answered.body.length).toBe(100_001)
  })

  test('a client may leave in the middle', async () => {
    set({ kind: 'oversize', times: 1 })
    const socket = dial()
    await once(socket, 'data')
    socket.destroy()
    expect(await status()).toBe(200)
  })
})

describe('reject-tokens', () => {
  test('closes every session once; a new one is good', async () => {
    const tokens = [await openSession(simulator.url), await openSession(simulator.url)]
    set({ kind: 'reject-tokens', times: 1 })
    for (const token of [tokens[0], tokens[1], tokens[0]]) {
      expect((await get(simulator.url, ID, token)).status).toBe(401)
    }
    expect((await get(simulator.url, ID, await openSession(simulator.url))).status).toBe(200)
  })
})

describe('a fault meets', () => {
  test('paths with its prefix, slashes collapsed and query left out', async () => {
    set({ kind: 'status', code: 500, path: '/latest/meta-data/instance' })
    expect(await status('/latest/meta-data/instance-id')).toBe(500)
    expect(await status('//latest//meta-data/instance/?x')).toBe(500)
    expect(await status('/latest/meta-data/mac')).toBe(200)
    expect(await status('/2016-01-01/meta-data/instance-id')).toBe(200)
  })

  test('its method only', async () => {
    set({ kind: 'status', code: 500, method: 'PUT' })
    expect(await status()).toBe(200)
    expect((await send(simulator.url, 'PUT', '/latest/api/token')).status).toBe(500)
  })

  test('as many requests as it says', async () => {
    set({ kind: 'status', code: 500, times: 2 })
    expect([await status(), await status(), await status()]).toEqual([500, 500, 200])
    expect(simulator.faults.list()).toEqual([])
  })

  test('one after the other in the order set', async () => {
    set({ kind: 'status', code: 500, times: 1 })
    set({ kind: 'status', code: 503, times: 1 })
    expect([await status(), await status(), await status()]).toEqual([500, 503, 200])
  })

  test('together where one alters and one decides', async () => {
    set({ kind: 'latency', ms: 60, times: 1 })
    set({ kind: 'status', code: 503, times: 1 })
    const startMs = performance.now()
    expect(await status()).toBe(503)
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(55)
    expect(await status()).toBe(200)
  })

  test('nobody after clear', async () => {
    set({ kind: 'reset' })
    simulator.faults.clear()
    expect(await status()).toBe(200)
  })
})

test.each([
  ['not json', 'is not JSON: not json'],
  ['{"kind":"earthquake"}', 'not a fault: kind: '],
  ['{"kind":"latency"}', 'not a fault: ms: '],
  ['{"kind":"status","code":99}', 'not a fault: code: '],
  ['{"kind":"reset","paht":"/"}', 'not a fault: paht: unknown key'],
  ['{"kind":"reset","path":"latest"}', 'not a fault: path: '],
  ['{"kind":"reset","times":0}', 'not a fault: times: '],
])('%s is refused', (json, message) => {
  expect(() => parseFault(json)).toThrow(message)
})
