import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { connectionsPerAddress } from '../../src/caller/connections-per-address.ts'

/** Real connections from several addresses of the loopback network. */

let server: Server
let mayStay: (socket: Socket) => boolean
let clients: Socket[]

beforeEach(async () => {
  mayStay = connectionsPerAddress(2)
  clients = []
  server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
})

afterEach(() => {
  for (const client of clients) client.destroy()
  server.close()
})

/** What the server has of a connection from an address. */
async function accepted(localAddress: string): Promise<Socket> {
  const port = (server.address() as AddressInfo).port
  const client = connect({ host: '127.0.0.1', port, localAddress })
  client.on('error', () => undefined)
  clients.push(client)
  const [socket]: Socket[] = await once(server, 'connection')
  if (socket === undefined) throw new Error('no connection')
  return socket
}

test('so many from one address may stay, and as many from another', async () => {
  const stays = []
  for (const address of ['127.0.0.2', '127.0.0.2', '127.0.0.2', '127.0.0.3']) {
    stays.push(mayStay(await accepted(address)))
  }
  expect(stays).toEqual([true, true, false, true])
})

test('one that was closed makes room, however often; one that might not stay makes none', async () => {
  const first = await accepted('127.0.0.2')
  expect(mayStay(first)).toBe(true)
  expect(mayStay(await accepted('127.0.0.2'))).toBe(true)
  const refused = await accepted('127.0.0.2')
  expect(mayStay(refused)).toBe(false)
  refused.destroy()
  await once(refused, 'close')
  expect(mayStay(await accepted('127.0.0.2'))).toBe(false)
  let open = first
  for (let round = 0; round < 5; round += 1) {
    open.destroy()
    await once(open, 'close')
    open = await accepted('127.0.0.2')
    expect(mayStay(open)).toBe(true)
  }
  expect(mayStay(await accepted('127.0.0.2'))).toBe(false)
})

test('one that is gone already may not stay', async () => {
  const socket = await accepted('127.0.0.2')
  socket.destroy()
  await once(socket, 'close')
  expect(mayStay(socket)).toBe(false)
})
