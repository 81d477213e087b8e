import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Caller } from '../../src/caller/caller.ts'
import {
  callerOf,
  connectionOf,
  isHostRoot,
  rememberCaller,
  rememberUid,
  rememberUnknown,
  SHARES_OF_TCP,
  sharesOf,
  uidOf,
  whenClosed,
} from '../../src/caller/connection.ts'
import { MetabindError } from '../../src/errors.ts'

const UNKNOWN = expect.objectContaining({ code: 'CALLER_UNKNOWN' })
const ROOT: Caller = { pid: 0, uid: 0, gid: 0, groups: [], namespaces: [] }

let directory: string
let servers: Server[]
let ends: Socket[]

beforeEach(async () => {
  directory = await mkdtemp('/tmp/connection-')
  servers = []
  ends = []
})

afterEach(async () => {
  for (const end of ends) end.destroy()
  for (const server of servers) server.close()
  await rm(directory, { recursive: true })
})

/** A connection, as it was accepted. */
async function accepted(over: 'tcp' | 'unix' = 'unix'): Promise<Socket> {
  const server = createServer()
  servers.push(server)
  const path = join(directory, 's')
  if (over === 'tcp') server.listen(0, '127.0.0.1')
  else server.listen(path)
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  ends.push(over === 'tcp' ? connect(port, '127.0.0.1') : connect(path))
  const [socket]: Socket[] = await once(server, 'connection')
  if (socket === undefined) throw new Error('no connection')
  ends.push(socket)
  return socket
}

test('of a connection nothing is known at first, and nobody is its caller', async () => {
  const socket = await accepted()
  expect(connectionOf(socket)).toStrictEqual({
    caller: undefined,
    uid: undefined,
    requestsUnderWay: undefined,
    readBytesAtRest: 0,
    quietMs: undefined,
    isClosing: false,
    unreadBytes: 0,
    unreadLooks: 0,
    endings: undefined,
  })
  expect(connectionOf(socket)).toBe(connectionOf(socket))
  expect(() => callerOf(socket)).toThrow(UNKNOWN)
  expect([uidOf(socket), isHostRoot(socket), sharesOf(socket)]).toEqual([undefined, false, 1])
})

test('a caller of another transport is remembered with its user', async () => {
  const socket = await accepted()
  rememberCaller(socket, { ...ROOT, uid: 1001 })
  expect(callerOf(socket)).toEqual({ ...ROOT, uid: 1001 })
  expect([uidOf(socket), isHostRoot(socket)]).toEqual([1001, false])
  rememberCaller(socket, ROOT)
  expect([uidOf(socket), isHostRoot(socket)]).toEqual([0, true])
})

test('nobody is named, for a reason that is kept, and counted for its user', async () => {
  const socket = await accepted()
  const why = new MetabindError('CALLER_UNKNOWN', 'for a reason')
  rememberUid(socket, 0)
  rememberUnknown(socket, why)
  expect(() => callerOf(socket)).toThrow(why)
  expect([uidOf(socket), isHostRoot(socket), sharesOf(socket)]).toEqual([0, false, 1])
})

test('one over TCP counts for several, and for more of a caller in many groups', async () => {
  const [tcp, unix] = [await accepted('tcp'), await accepted('unix')]
  expect([sharesOf(tcp), sharesOf(unix)]).toEqual([SHARES_OF_TCP, 1])
  for (const socket of [tcp, unix]) {
    rememberCaller(socket, { ...ROOT, groups: Array.from({ length: 512 }, (_, gid) => gid) })
  }
  expect([sharesOf(tcp), sharesOf(unix)]).toEqual([SHARES_OF_TCP + 2, 3])
})

test('whatever ends with a connection hangs on one listener, and is done once each', async () => {
  const socket = await accepted()
  const before = socket.listenerCount('close')
  const done: string[] = []
  for (const what of ['one', 'two', 'three']) whenClosed(socket, () => done.push(what))
  expect(socket.listenerCount('close')).toBe(before + 1)
  socket.destroy()
  await once(socket, 'close')
  expect(done).toEqual(['one', 'two', 'three'])
})
