import { once } from 'node:events'
import { copyFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { connect as connectPlain } from 'node:net'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { closeGracefully } from '../../src/http/graceful-close.ts'
import { httpServer } from '../../src/http/server.ts'
import { closeLog, openLog } from '../../src/log.ts'
import { type RegistrarTls, registrarTls } from '../../src/registrar/tls.ts'
import { scratch } from '../harness/metabind.ts'
import { type OpensslCertificate, OpensslPki } from '../harness/openssl-pki.ts'

/** Longer than any test takes: nothing here ends because of a time that is over. */
const BOUNDS = {
  connections: 8,
  headerBytesMax: 16_384,
  bodyBytesMax: 1024,
  requestTimeoutMs: 600_000,
  idleTimeoutMs: 600_000,
}

const pki = new OpensslPki()
const of = (organization: string) =>
  pki.certificate({ subject: `/O=${organization}`, extensions: ['subjectAltName = DNS:x.example'] })
const log = openLog('error')

let directory: AsyncDisposable & { readonly path: string }
let app: FastifyInstance
let tls: RegistrarTls
let peers: { destroy(): void }[]
beforeEach(async () => {
  directory = await scratch()
  peers = []
  await put(of('First'))
  tls = registrarTls(config(), log)
  app = httpServer(BOUNDS, 'json', undefined, () => undefined, undefined, tls.makeServer)
  app.get('/', (_request, reply) => reply.send('answered'))
  await app.listen({ host: '127.0.0.1', port: 0 })
  return async () => {
    for (const peer of peers) peer.destroy()
    await app.close()
    await directory[Symbol.asyncDispose]()
  }
})
afterAll(() => closeLog(log))

const config = () => ({
  certificate: join(directory.path, 'certificate.pem'),
  key: join(directory.path, 'key.pem'),
  minimum_version: '1.3' as const,
})

async function put({ file, keyFile }: OpensslCertificate): Promise<void> {
  await copyFile(keyFile, config().key)
  await copyFile(file, config().certificate)
}

const port = () => (app.server.address() as AddressInfo).port

async function connected(): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: port(), rejectUnauthorized: false })
  peers.push(socket)
  await once(socket, 'secureConnect')
  return socket
}

async function organization(): Promise<string | string[] | undefined> {
  return (await connected()).getPeerCertificate().subject.O
}

test('who connected and asked nothing does not hold up the end', async () => {
  const socket = await connected()
  const closed = once(socket, 'close')
  socket.resume()
  await closeGracefully(app)
  await closed
})

test.each([
  ['nothing of it came', ''],
  ['it stopped in its midst', '16030100c8010000c40303'],
])('a handshake that never ends does not hold up the end: %s', async (_what, hex) => {
  const socket = connectPlain(port(), '127.0.0.1')
  peers.push(socket)
  socket.on('error', () => undefined)
  socket.write(Buffer.from(hex, 'hex'))
  await once(app.server, 'connection')
  const whole = await connected()
  whole.resume()
  const closed = [once(socket, 'close'), once(whole, 'end')]
  await closeGracefully(app)
  await Promise.all(closed)
})

test('what was asked is answered to the end', async () => {
  const socket = await connected()
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  let received = ''
  socket.on('data', (bytes) => {
    received += bytes.toString('latin1')
  })
  const ended = once(socket, 'end')
  await closeGracefully(app)
  await ended
  expect(received).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*answered$/)
})

test('a handshake that fails is hung up on, without an answer', async () => {
  const socket = connectPlain(port(), '127.0.0.1')
  peers.push(socket)
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  let received = ''
  socket.on('data', (bytes) => {
    received += bytes.toString('latin1')
  })
  await once(socket, 'close')
  expect(received).not.toContain('HTTP')
})

test('files that changed are shown to who connects from then on', async () => {
  const before = await connected()
  await put(of('Second'))
  tls.reread(app.server)
  expect(await organization()).toBe('Second')
  expect(before.destroyed).toBe(false)
})

test.each(['certificate', 'key'] as const)(
  'a %s of another pair changes nothing',
  async (which) => {
    const { file, keyFile } = of('Second')
    await copyFile(which === 'key' ? keyFile : file, config()[which])
    tls.reread(app.server)
    expect(await organization()).toBe('First')
  },
)

test('a registrar does not begin with a pair that does not match, or with what is none', async () => {
  await copyFile(of('Second').keyFile, config().key)
  expect(() => registrarTls(config(), log)).toThrow(
    expect.objectContaining({ code: 'REGISTRAR_TLS' }),
  )
  await copyFile(config().key, config().certificate)
  expect(() => registrarTls(config(), log)).toThrow(
    expect.objectContaining({ code: 'REGISTRAR_TLS' }),
  )
})
