import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { httpBounds } from '../../src/agent/settings.ts'
import { rememberCaller } from '../../src/caller/connection.ts'
import { parseConfig } from '../../src/config.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { guardConnections, type Identify, REFUSED_OPEN_MAX } from '../../src/http/admission.ts'
import { openRaw, sendRaw } from '../harness/raw-http.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const BOUNDS = httpBounds(parseConfig([]))
const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let server: Server
let peers: Socket[]
/** Requests that were handed on. */
let served: number
let answer: (response: ServerResponse) => void

beforeEach(async () => {
  scratch = await scratchDirectory()
  peers = []
  served = 0
  answer = (response) => response.end('served')
  server = createServer((_request, response) => {
    served += 1
    answer(response)
  })
})

afterEach(async () => {
  for (const peer of peers) peer.destroy()
  server.closeAllConnections()
  server.close()
  await scratch[Symbol.asyncDispose]()
})

/** Whom it is asked for, who may stay, and what it is told. */
function admissionOf(mayStay: () => boolean) {
  const asked: { uid: number | undefined; shares: number; isRoot: boolean }[] = []
  const refused: [ErrorCode, unknown][] = []
  const state = { left: 0 }
  return {
    ...{ asked, refused, state },
    admit: (uid: number | undefined, shares: number, isRoot: () => boolean) => {
      asked.push({ uid, shares, isRoot: isRoot() })
      if (!mayStay()) return undefined
      return () => {
        state.left += 1
      }
    },
    dropped: () => undefined,
  }
}

type Admission = ReturnType<typeof admissionOf>

async function listen(identify: Identify, admission?: Admission): Promise<string> {
  const told = (code: ErrorCode, socket: unknown) => void admission?.refused.push([code, socket])
  guardConnections(
    server,
    BOUNDS,
    identify,
    admission && { admit: admission.admit, refused: told, dropped: admission.dropped },
  )
  server.listen(`${scratch.path}/s`)
  await once(server, 'listening')
  return `${scratch.path}/s`
}

/** A peer that says nothing, and does not hang up because the server does; and the server's end of it. */
async function silent(path: string): Promise<{ peer: Socket; own: Socket }> {
  const accepted = once(server, 'connection')
  const peer = connect({ path, allowHalfOpen: true })
  peers.push(peer)
  peer.on('error', () => undefined)
  const [own]: Socket[] = await accepted
  if (own === undefined) throw new Error('no connection')
  return { peer, own }
}

const nobody: Identify = () => undefined
const REFUSED = expect.stringMatching(/^LIMIT_CONNECTIONS: /)

describe('a connection that may not stay', () => {
  test('is told so, though its request was not read, and is closed; the server never sees it', async () => {
    const admission = admissionOf(() => false)
    const path = await listen(nobody, admission)
    const long = GET.replace('\r\n\r\n', `\r\nX: ${'x'.repeat(10_000)}\r\n\r\n`)
    for (const bytes of [GET, long]) {
      expect(await sendRaw(path, bytes)).toMatchObject({ body: REFUSED, closed: true })
    }
    expect(served).toBe(0)
    expect(admission.refused.map(([code]) => code)).toEqual(Array(2).fill('LIMIT_CONNECTIONS'))
    expect(admission.state.left).toBe(0)
  })

  test('is closed though it sends nothing, and hangs up itself never', async () => {
    const admission = admissionOf(() => false)
    const { peer, own } = await silent(await listen(nobody, admission))
    peer.pause()
    await once(own, 'close')
    expect(admission.refused).toEqual([['LIMIT_CONNECTIONS', own]])
  })

  test('and is reset by its peer ends nobody else', async () => {
    await listen(
      nobody,
      admissionOf(() => false),
    )
    const { port } = await overTcp()
    for (let count = 0; count < 20; count += 1) {
      const accepted = once(server, 'connection')
      const peer = connect(port, '127.0.0.1')
      peer.on('error', () => undefined)
      await once(peer, 'connect')
      peer.resetAndDestroy()
      const [own]: Socket[] = await accepted
      await untilClosed(own)
    }
  })

  test('is closed without a word if too many are being told so, until these are closed', async () => {
    const path = await listen(
      nobody,
      admissionOf(() => false),
    )
    const told = async () => {
      const connection = await openRaw(path)
      const answered = await connection.answer().then(
        ({ body }) => body,
        () => 'nothing',
      )
      connection.destroy()
      return answered
    }
    const waiting: Socket[] = []
    // All of them come in one turn, before any of them is closed.
    const owns: Socket[] = []
    server.on('connection', (own: Socket) => owns.push(own))
    for (let count = 0; count <= REFUSED_OPEN_MAX; count += 1) {
      const peer = connect({ path, allowHalfOpen: true })
      peer.on('error', () => undefined)
      peers.push(peer)
      waiting.push(peer)
    }
    await expect.poll(() => owns.length).toBe(REFUSED_OPEN_MAX + 1)
    const sent = owns.map(({ bytesWritten }) => bytesWritten > 0)
    expect(sent).toEqual([...Array(REFUSED_OPEN_MAX).fill(true), false])
    for (const peer of waiting) peer.destroy()
    await expect.poll(() => owns.every(({ closed }) => closed)).toBe(true)
    expect(await told()).toEqual(REFUSED)
  })
})

/** An error is no failure here, as it is of `once`. */
function untilClosed(own: Socket | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (own === undefined || own.closed) resolve()
    else own.on('close', () => resolve())
  })
}

async function overTcp(): Promise<{ port: number }> {
  server.close()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server.address() as AddressInfo
}

describe('a connection that may stay', () => {
  test('is asked for once, as whose it is, and has left once when it is closed', async () => {
    const admission = admissionOf(() => true)
    const root = { pid: 1, uid: 0, gid: 0, groups: Array(600).fill(1), namespaces: [] }
    const path = await listen((socket) => rememberCaller(socket, root), admission)
    const connection = await openRaw(path)
    for (let count = 0; count < 2; count += 1) {
      connection.write(GET)
      expect((await connection.answer()).body).toBe('served')
    }
    expect(admission.asked).toEqual([{ uid: 0, shares: 3, isRoot: true }])
    expect(admission.state.left).toBe(0)
    connection.destroy()
    await expect.poll(() => admission.state.left).toBe(1)
    expect(admission.refused).toEqual([])
  })

  test('of nobody known is asked for as such', async () => {
    const admission = admissionOf(() => true)
    expect((await sendRaw(await listen(nobody, admission), GET, 0)).body).toBe('served')
    expect(admission.asked).toEqual([{ uid: undefined, shares: 1, isRoot: false }])
  })

  test('gets its answer though it has shut down its own side', async () => {
    const path = await listen(nobody)
    const { promise: asked, resolve } = Promise.withResolvers<ServerResponse>()
    answer = resolve
    const connection = await openRaw(path)
    connection.write(GET)
    const response = await asked
    const ended = once(response.req.socket, 'end')
    connection.endWriting()
    await ended
    response.end('late')
    expect((await connection.answer()).body).toBe('late')
    connection.destroy()
  })
})

describe('a connection whose caller is found out later', () => {
  const later = () => Promise.withResolvers<void>()

  test('is served when that is done, and not before', async () => {
    const { promise, resolve } = later()
    const admission = admissionOf(() => true)
    const path = await listen(() => promise, admission)
    const connection = await openRaw(path)
    connection.write(GET)
    await expect.poll(() => new Promise((done) => server.getConnections((_, n) => done(n)))).toBe(1)
    await setImmediate()
    expect([served, admission.asked.length]).toEqual([0, 0])
    resolve()
    expect((await connection.answer()).body).toBe('served')
    connection.destroy()
  })

  test('is served if that fails: nobody is its caller then', async () => {
    const { promise, reject } = later()
    const path = await listen(() => promise)
    const connection = await openRaw(path)
    connection.write(GET)
    reject(new Error('the kernel does not say'))
    expect((await connection.answer()).body).toBe('served')
    connection.destroy()
  })

  test('is not asked for if it is gone by then, whether it was closed or reset', async () => {
    const { promise, resolve } = later()
    const admission = admissionOf(() => true)
    await listen(() => promise, admission)
    const { port } = await overTcp()
    const accepted = once(server, 'connection')
    const peer = connect(port, '127.0.0.1')
    peer.on('error', () => undefined)
    const [own]: Socket[] = await accepted
    peer.resetAndDestroy()
    await untilClosed(own)
    resolve()
    await setImmediate()
    expect([admission.asked, served]).toEqual([[], 0])
  })

  test('and is served then has the listeners of any other, and no more', async () => {
    const { promise, resolve } = later()
    const answers: (Promise<void> | undefined)[] = [promise, undefined]
    const path = await listen(() => answers.shift())
    const late = await silent(path)
    expect(late.own.listenerCount('error')).toBe(1)
    const other = await silent(path)
    resolve()
    late.peer.write(GET)
    await expect.poll(() => served).toBe(1)
    expect(late.own.listenerCount('error')).toBe(other.own.listenerCount('error'))
  })
})

test('a server that has nobody to hand connections on to is refused', () => {
  const deaf = createServer()
  deaf.removeAllListeners('connection')
  expect(() => guardConnections(deaf, BOUNDS, nobody)).toThrow(
    expect.objectContaining({ code: 'INTERNAL' }),
  )
})
