import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  LinuxError,
  setReceiveBuffer,
  setSendBuffer,
  shutDownReading,
  socketFd,
  unsentBytes,
} from '../src/linux.ts'

let directory: string
let sockets: Socket[]

beforeEach(async () => {
  directory = await mkdtemp('/tmp/socket-')
  sockets = []
})

afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  await rm(directory, { recursive: true, force: true })
})

/** Both ends of a connection; nobody reads at `silent`. */
async function connected(where: string | 0): Promise<{ own: Socket; silent: Socket }> {
  const accepted = Promise.withResolvers<Socket>()
  const server = createServer({ pauseOnConnect: true }, accepted.resolve)
  await new Promise<void>((resolve) => server.listen(where, resolve))
  const at = server.address()
  const silent = typeof at === 'string' ? connect(at) : connect(at?.port ?? 0, '127.0.0.1')
  silent.pause()
  const own = await accepted.promise
  server.close()
  sockets.push(own, silent)
  return { own, silent }
}

/** What the kernel takes of answers of a size before it takes no more. */
async function takenOf(own: Socket, bytes: number): Promise<number> {
  const { _handle: handle } = own as unknown as { readonly _handle: { writeQueueSize: number } }
  let written = 0
  // Once it is full, a turn later still: over TCP the peer's side fills up as well.
  for (let fullTurns = 0; fullTurns < 20; ) {
    own.write(Buffer.alloc(bytes))
    written += bytes
    await new Promise((resolve) => setTimeout(resolve, handle.writeQueueSize > 0 ? 10 : 0))
    fullTurns = handle.writeQueueSize > 0 ? fullTurns + 1 : 0
  }
  return written - own.writableLength
}

describe('a bounded send buffer', () => {
  test.each([100, 300, 4000, 100_000])('holds little of answers of %i bytes', async (bytes) => {
    const { own } = await connected(join(directory, 's'))
    setSendBuffer(socketFd(own), 3840)
    expect(await takenOf(own, bytes)).toBeLessThanOrEqual(2 * 3840 + 4096)
  })

  test('is much smaller than what the kernel has by itself', async () => {
    const { own } = await connected(join(directory, 's'))
    expect(await takenOf(own, 300)).toBeGreaterThan(4 * (2 * 3840 + 4096))
  })

  test('lets everything through to a peer that reads', async () => {
    const { own, silent } = await connected(join(directory, 's'))
    setSendBuffer(socketFd(own), 3840)
    const sent = Buffer.alloc(1_048_576, 'x')
    own.end(sent)
    const received: Buffer[] = []
    for await (const chunk of silent) received.push(chunk)
    expect(Buffer.concat(received).equals(sent)).toBe(true)
  })
})

test.each(['answers', 'requests'])('bounded buffers on TCP let all %s through', async (what) => {
  const { own, silent } = await connected(0)
  setSendBuffer(socketFd(own), 3840)
  setReceiveBuffer(socketFd(own), 8192)
  const [from, to] = what === 'answers' ? [own, silent] : [silent, own]
  const sent = Buffer.alloc(100_000, 'x')
  from.end(sent)
  const received: Buffer[] = []
  for await (const chunk of to) received.push(chunk)
  expect(Buffer.concat(received).equals(sent)).toBe(true)
})

test('what is no socket is refused', () => {
  expect(() => setSendBuffer(-1, 4096)).toThrow(new LinuxError('setsockopt SO_SNDBUF', 'EBADF'))
  expect(() => setReceiveBuffer(0x7fff_ffff, 4096)).toThrow(LinuxError)
})

test('what a peer has not read is unsent, and no more once it has', async () => {
  const { own, silent } = await connected(join(directory, 's'))
  own.write('x')
  expect(unsentBytes(socketFd(own))).toBeGreaterThan(0)
  silent.resume()
  await once(silent, 'data')
  expect(unsentBytes(socketFd(own))).toBe(0)
  expect(() => unsentBytes(-1)).toThrow(new LinuxError('ioctl SIOCOUTQ', 'EBADF'))
})

test('what came before reading is shut down is read, and what comes later is refused', async () => {
  const { own, silent } = await connected(join(directory, 's'))
  if (silent.connecting) await once(silent, 'connect')
  silent.write('taken')
  shutDownReading(socketFd(own))
  const refused = once(silent, 'error')
  silent.write('late')
  expect(await refused).toMatchObject([{ code: 'EPIPE' }])
  const received: Buffer[] = []
  for await (const chunk of own) received.push(chunk)
  expect(Buffer.concat(received).toString()).toBe('taken')
  expect(() => shutDownReading(-1)).toThrow(new LinuxError('shutdown SHUT_RD', 'EBADF'))
})
