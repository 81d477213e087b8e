import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { httpBounds } from '../../src/agent/settings.ts'
import { parseConfig } from '../../src/config.ts'
import { guardConnections } from '../../src/http/admission.ts'
import { endConnections } from '../../src/http/graceful-close.ts'
import { listenBare } from '../../src/http/listen-tcp.ts'
import { LOOKS_EVERY_MS } from '../../src/http/open-connections.ts'
import { guardRequests } from '../../src/http/pipelining.ts'
import { freePort } from '../harness/free-port.ts'
import { scratchDirectory } from '../harness/scratch.ts'

/**
 * The looks of an ending server come from a false clock. They run one after the other in one turn of the event
 * loop, so that nothing but the kernel knows of what a peer wrote before them: as on a busy machine.
 */

const REQUEST = 'GET /answer HTTP/1.1\r\nHost: x\r\n\r\n'
/** Much longer than anything here waits for by the clock. */
const LONG_MS = 60_000
const BOUNDS = httpBounds(parseConfig([]))

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let server: Server
let peers: Socket[]
let held: ServerResponse[]

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  scratch = await scratchDirectory()
  peers = []
  held = []
  server = createServer((request, response) => {
    if (request.url === '/held') held.push(response)
    else response.end('answered')
  })
  guardConnections(server, BOUNDS, () => undefined)
  guardRequests(server)
})

afterEach(async () => {
  for (const peer of peers) peer.destroy()
  server.closeAllConnections()
  vi.useRealTimers()
  await scratch[Symbol.asyncDispose]()
})

interface Peer {
  readonly socket: Socket
  /** The server's end. */
  readonly own: Socket
  /** All that came, once the connection has ended; rejects if it was reset. */
  readonly received: Promise<string>
  /** Until so many answers are there. */
  answers(count: number): Promise<void>
}

async function connected(at: string | number, reads = true): Promise<Peer> {
  const accepted = once(server, 'connection')
  const socket = typeof at === 'string' ? connect(at) : connect(at, '127.0.0.1')
  if (!reads) socket.pause()
  peers.push(socket)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk
  })
  const received = once(socket, 'end').then(() => text)
  received.catch(() => undefined)
  const [[own]] = await Promise.all([accepted, once(socket, 'connect')])
  return {
    socket,
    own,
    received,
    answers: async (count) => {
      while (text.split('answered').length - 1 < count) await once(socket, 'data')
    },
  }
}

async function listening(): Promise<string> {
  const path = `${scratch.path}/s`
  server.listen(path)
  await once(server, 'listening')
  return path
}

test.each(['a kept connection', 'a new connection'])(
  'a request that only the kernel knows of is answered when %s ends',
  async (kind) => {
    const peer = await connected(await listening())
    const isKept = kind === 'a kept connection'
    if (isKept) {
      peer.socket.write(REQUEST)
      await peer.answers(1)
    }
    const ended = endConnections(server)
    peer.socket.write(REQUEST)
    vi.advanceTimersByTime(LONG_MS)
    expect((await peer.received).split('answered')).toHaveLength(isKept ? 3 : 2)
    await ended
  },
)

test('a request that comes while a server ends is told that its connection closes', async () => {
  const peer = await connected(await listening())
  const ended = endConnections(server)
  peer.socket.write(REQUEST)
  expect(await peer.received).toContain('Connection: close')
  await ended
})

test('who has not read an answer is waited for', async () => {
  const peer = await connected(await listening(), false)
  const answered = Promise.withResolvers<void>()
  server.once('request', (_, response) => response.once('close', answered.resolve))
  peer.socket.write(REQUEST)
  await answered.promise
  const ended = endConnections(server)
  vi.advanceTimersByTime(LONG_MS)
  // Could be taken only by a connection that is still open in this direction.
  peer.socket.resume()
  await peer.answers(1)
  peer.socket.write(REQUEST)
  expect((await peer.received).split('answered')).toHaveLength(3)
  await ended
})

test('a request that arrives in pieces is waited for', async () => {
  const peer = await connected(await listening())
  peer.socket.write(REQUEST.slice(0, 10))
  while (peer.own.bytesRead < 10) await new Promise(setImmediate)
  const ended = endConnections(server)
  vi.advanceTimersByTime(LONG_MS)
  peer.socket.write(REQUEST.slice(10))
  expect(await peer.received).toContain('answered')
  await ended
})

test('connections at rest are waited for no longer than they are at rest', async () => {
  const path = await listening()
  const rested = await connected(path)
  rested.socket.write(REQUEST)
  await rested.answers(1)
  const silent = await connected(path)
  // The looks of a server that runs.
  vi.advanceTimersByTime(LONG_MS)
  await endConnections(server)
  expect(await rested.received).toContain('answered')
  expect(await silent.received).toBe('')
})

test('what was asked just before a look counts as just asked', async () => {
  const peer = await connected(await listening())
  peer.socket.write(REQUEST)
  await peer.answers(1)
  vi.advanceTimersByTime(LOOKS_EVERY_MS)
  const ended = endConnections(server)
  // A client that rests between two requests, for less than it is left alone.
  vi.advanceTimersByTime(900)
  peer.socket.write(REQUEST)
  expect((await peer.received).split('answered')).toHaveLength(3)
  await ended
})

test('who has read an answer late is left alone for as long as any other', async () => {
  const peer = await connected(await listening(), false)
  const answered = Promise.withResolvers<void>()
  server.once('request', (_, response) => response.once('close', answered.resolve))
  peer.socket.write(REQUEST)
  await answered.promise
  const ended = endConnections(server)
  vi.advanceTimersByTime(LONG_MS)
  peer.socket.resume()
  await peer.answers(1)
  vi.advanceTimersByTime(900)
  peer.socket.write(REQUEST)
  expect((await peer.received).split('answered')).toHaveLength(3)
  await ended
})

test('what is passed on is answered before a server without fastify closes', async () => {
  const port = await freePort()
  const listener = await listenBare(server, { address: '127.0.0.1', port })
  const peer = await connected(port)
  peer.socket.write('GET /held HTTP/1.1\r\nHost: x\r\n\r\n')
  while (held.length === 0) await new Promise(setImmediate)
  const ended = listener.close()
  vi.advanceTimersByTime(LONG_MS)
  held[0]?.end('answered late')
  await peer.answers(1)
  vi.advanceTimersByTime(LONG_MS)
  expect(await peer.received).toContain('answered late')
  await ended
})
