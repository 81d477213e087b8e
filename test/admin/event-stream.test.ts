import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type EventStreams, eventStreams, STREAMS_MAX } from '../../src/admin/event-stream.ts'
import type { Snapshot } from '../../src/admin-api.ts'
import { MetabindError } from '../../src/errors.ts'

let taken: number
let value: { at: string; shown: string }
let streams: EventStreams
let server: Server
let refusals: string[]

/** Of a snapshot the streams look at `at` and nothing else. */
const snapshot = () => {
  taken += 1
  return value as unknown as Snapshot
}

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  taken = 0
  value = { at: '1', shown: 'a' }
  refusals = []
  streams = eventStreams(snapshot)
  server = createServer((_request, response) => {
    try {
      streams.open(response)
    } catch (error) {
      refusals.push(error instanceof MetabindError ? error.code : String(error))
      response.writeHead(503).end()
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterEach(() => {
  vi.useRealTimers()
  streams.end()
  server.closeAllConnections()
  server.close()
})

async function open(): Promise<IncomingMessage> {
  const { port } = server.address() as AddressInfo
  const [answer] = await once(get({ port, host: '127.0.0.1', agent: false }), 'response')
  answer.setEncoding('utf8')
  return answer
}
const next = async (answer: IncomingMessage): Promise<string> => (await once(answer, 'data'))[0]
const turn = () => vi.advanceTimersByTime(1000)

test('sends what there is at once, and again only when it has changed', async () => {
  const answer = await open()
  expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8')
  expect(await next(answer)).toBe('data: {"at":"1","shown":"a"}\n\n')
  value = { at: '2', shown: 'a' }
  turn()
  value = { at: '3', shown: 'b' }
  turn()
  expect(await next(answer)).toBe('data: {"at":"3","shown":"b"}\n\n')
})

test('computes nothing while nobody looks, and once for all who do', async () => {
  turn()
  expect(taken).toBe(0)
  const answers = [await open(), await open(), await open()]
  const before = taken
  turn()
  expect(taken).toBe(before + 1)
  for (const answer of answers) answer.destroy()
  await vi.waitFor(() => expect(streams.count).toBe(0))
  const after = taken
  turn()
  expect(taken).toBe(after)
})

test('says now and then that it is alive', async () => {
  const answer = await open()
  await next(answer)
  for (let turns = 0; turns < 20; turns += 1) turn()
  expect(await next(answer)).toBe(': nothing has changed\n\n')
})

test('there is a bound, and room again when one leaves', async () => {
  const answers = []
  for (let at = 0; at < STREAMS_MAX; at += 1) answers.push(await open())
  expect((await open()).statusCode).toBe(503)
  expect(refusals).toEqual(['LIMIT_CONNECTIONS'])
  answers[0]?.destroy()
  await vi.waitFor(() => expect(streams.count).toBe(STREAMS_MAX - 1))
  expect((await open()).statusCode).toBe(200)
})

test('for one that does not read, no more than one waits', async () => {
  value = { at: '1', shown: 'x'.repeat(1_000_000) }
  const { port } = server.address() as AddressInfo
  const [connection] = await Promise.all([
    once(server, 'connection'),
    once(get({ port, host: '127.0.0.1', agent: false }), 'socket'),
  ])
  await vi.waitFor(() => expect(streams.count).toBe(1))
  const [socket] = connection
  for (let at = 2; at < 100; at += 1) {
    value = { at: String(at), shown: `${at}${'x'.repeat(1_000_000)}` }
    turn()
  }
  // What the kernel took is not counted; without the bound it would be a hundred times as much.
  expect(socket.writableLength).toBeLessThan(10_000_000)
})

test('all end with the agent, and none begins then', async () => {
  const answer = await open()
  streams.end()
  await once(answer.resume(), 'end')
  expect((await open()).statusCode).toBe(503)
})
