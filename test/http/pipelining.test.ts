import { once } from 'node:events'
import { createServer, type Server, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { httpBounds } from '../../src/agent/settings.ts'
import { rememberUid } from '../../src/caller/connection.ts'
import { parseConfig } from '../../src/config.ts'
import { guardConnections } from '../../src/http/admission.ts'
import {
  AHEAD_MAX,
  AHEAD_PER_UID_MAX,
  guardRequests,
  UNDER_WAY_MAX,
} from '../../src/http/pipelining.ts'
import { openRaw } from '../harness/raw-http.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
/** Behind the first of a connection. */
const AHEAD = UNDER_WAY_MAX - 1

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let server: Server
let peers: Socket[]
/** Whose connections are accepted now. */
let uid: number
/** Requests that were handed on and are not answered. */
let open: Set<ServerResponse>
let handedOn: number

beforeEach(async () => {
  scratch = await scratchDirectory()
  peers = []
  open = new Set()
  handedOn = 0
  server = createServer((_request, response) => {
    handedOn += 1
    open.add(response)
    response.once('close', () => open.delete(response))
  })
  guardConnections(server, httpBounds(parseConfig([])), (socket) => rememberUid(socket, uid))
  guardRequests(server)
  server.listen(`${scratch.path}/s`)
  await once(server, 'listening')
})

afterEach(async () => {
  vi.restoreAllMocks()
  for (const peer of peers) peer.destroy()
  server.closeAllConnections()
  server.close()
  await scratch[Symbol.asyncDispose]()
})

/** One connection of a user that sends so many requests at once. @returns the server's end of it */
async function send(by: number, count: number): Promise<Socket> {
  uid = by
  const accepted = once(server, 'connection')
  const peer = connect(`${scratch.path}/s`)
  peers.push(peer)
  peer.on('error', () => undefined)
  peer.resume()
  peer.write(GET.repeat(count))
  const [own]: Socket[] = await accepted
  if (own === undefined) throw new Error('no connection')
  return own
}

/** As many connections as a user needs for its share, each as full as one may be, and how many stay. */
async function fill(by: number): Promise<Socket[]> {
  const full = Math.floor(AHEAD_PER_UID_MAX / AHEAD)
  const made: Socket[] = []
  for (let count = 0; count < full; count += 1) made.push(await send(by, UNDER_WAY_MAX))
  made.push(await send(by, 1 + (AHEAD_PER_UID_MAX % AHEAD)))
  return made
}

test('a user has a share of what may wait behind other requests, and another user has its own', async () => {
  const first = await fill(1)
  await expect.poll(() => open.size).toBe(AHEAD_PER_UID_MAX + first.length)
  const beyond = await send(1, 2)
  await once(beyond, 'close')
  // One that waits behind nothing may begin.
  const single = await send(1, 1)
  await expect.poll(() => open.size).toBe(AHEAD_PER_UID_MAX + first.length + 1)
  const other = await send(2, UNDER_WAY_MAX)
  await expect.poll(() => open.size).toBe(AHEAD_PER_UID_MAX + first.length + 1 + UNDER_WAY_MAX)
  expect([...first, single, other].filter(({ destroyed }) => destroyed)).toEqual([])
})

test('all together have a bound, and what was answered, or has gone, is counted back', async () => {
  for (let round = 0; round < 3; round += 1) {
    const users = AHEAD_MAX / AHEAD_PER_UID_MAX
    for (let user = 0; user < users; user += 1) await fill(user)
    await expect.poll(() => open.size).toBe(AHEAD_MAX + peers.length)
    const beyond = await send(users, 2)
    await once(beyond, 'close')
    if (round === 0) {
      for (const response of [...open]) response.end()
      await expect.poll(() => open.size).toBe(0)
    }
    server.closeAllConnections()
    peers = []
    await expect.poll(connections).toBe(0)
    // Node does not say of answers that wait behind another that they have ended with their connection.
    open.clear()
  }
})

test('of a connection that asks too much nothing more is parsed, though it has been read', async () => {
  let parsed = 0
  server.on('request', () => {
    parsed += 1
  })
  const own = await send(1, 1000)
  await expect.poll(() => own.closed).toBe(true)
  expect([parsed, handedOn]).toEqual([UNDER_WAY_MAX + 1, UNDER_WAY_MAX])
})

const PUT = 'PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: '

test('who waits to be told to go on with a body is told so, and answered once', async () => {
  server.on('request', (request, response) => {
    request.on('data', (body) => response.end(String(body)))
  })
  const connection = await openRaw(`${scratch.path}/s`)
  connection.write(`${PUT}100-continue\r\n\r\n`)
  expect((await connection.answer()).status).toBe(100)
  connection.write('body')
  expect(await connection.answer()).toMatchObject({ status: 200, body: 'body' })
  expect(connection.statusLines()).toBe(2)
  connection.destroy()
})

test('who has no room for a request is not told to go on with it', async () => {
  const connection = await openRaw(`${scratch.path}/s`)
  connection.write(GET.repeat(UNDER_WAY_MAX))
  await expect.poll(() => open.size).toBe(UNDER_WAY_MAX)
  const [first] = open
  const told = vi.spyOn(ServerResponse.prototype, 'writeContinue')
  connection.write(`${PUT}100-continue\r\n\r\n`)
  expect(await connection.closed()).toBe(true)
  expect(told).not.toHaveBeenCalled()
  expect(first?.destroyed).toBe(true)
})

test('what else is expected is passed over, and the request counts like any other', async () => {
  const connection = await openRaw(`${scratch.path}/s`)
  connection.write(`${PUT}something\r\n\r\nbody`)
  await expect.poll(() => open.size).toBe(1)
  for (const response of open) response.end('as asked')
  expect(await connection.answer()).toMatchObject({ status: 200, body: 'as asked' })
  connection.destroy()
})

test('a server that nobody answers for is refused', () => {
  expect(() => guardRequests(createServer())).toThrow(expect.objectContaining({ code: 'INTERNAL' }))
})

function connections(): Promise<number> {
  return new Promise((resolve) => server.getConnections((_error, count) => resolve(count)))
}
