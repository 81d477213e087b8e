import { once } from 'node:events'
import { copyFile, readFile, rename } from 'node:fs/promises'
import { type AddressInfo, connect as connectPlain, createServer as createPlain } from 'node:net'
import { join } from 'node:path'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { tlsExporter } from '../../src/format/enrolment-bind.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { scratch } from '../harness/metabind.ts'
import {
  AUTHORITY_EXTENSIONS,
  type OpensslCertificate,
  OpensslPki,
} from '../harness/openssl-pki.ts'
import { enrol } from './enrolling.ts'
import { type RegistrarProcess, startRegistrarProcess, trustOf } from './registrar-process.ts'
import { enrolOver, tlsConnection } from './tls-connection.ts'

/** A registrar in which TLS ends, with certificates of openssl, and what stands between it and an instance. */

const NAME = 'registrar.example'
const pki = new OpensslPki()
const authority = (name: string) =>
  pki.certificate({ subject: `/CN=${name}`, extensions: AUTHORITY_EXTENSIONS })
/** @param organization makes another certificate of the same name */
const serverCertificate = (organization: string, under: OpensslCertificate) =>
  pki.certificate({
    subject: `/O=${organization}/CN=${NAME}`,
    extensions: [
      'basicConstraints = critical,CA:FALSE',
      `subjectAltName = DNS:${NAME}`,
      'authorityKeyIdentifier = keyid',
    ],
    under,
  })

const own = authority('Own')
const alien = authority('Alien')
const first = serverCertificate('First', own)
const second = serverCertificate('Second', own)
/** Of another authority, which the instance trusts as well. */
const between = serverCertificate('Between', alien)
const trusted = async () => [await readFile(own.file), await readFile(alien.file)]

const stack = new AsyncDisposableStack()
let directory: string
let instance: Instance
let trust: string
let ca: Buffer[]
beforeAll(async () => {
  directory = stack.use(await scratch()).path
  instance = await startInstance(join(directory, 'one'), { certified: true })
  stack.defer(() => instance.stop())
  trust = await trustOf(instance.directory)
  ca = await trusted()
})
afterAll(() => stack.disposeAsync())

/** Puts a certificate and its key in the place of what is there, one after the other, each whole. */
async function put({ file, keyFile }: OpensslCertificate, at: string): Promise<void> {
  await putKey(keyFile, at)
  await copyFile(file, join(at, 'certificate.new'))
  await rename(join(at, 'certificate.new'), join(at, 'certificate.pem'))
}

async function putKey(keyFile: string, at: string): Promise<void> {
  await copyFile(keyFile, join(at, 'key.new'))
  await rename(join(at, 'key.new'), join(at, 'key.pem'))
}

let count = 0
interface TlsRegistrar extends RegistrarProcess, AsyncDisposable {
  readonly port: number
  /** Where its certificate is. */
  readonly directory: string
}
async function tlsRegistrar(more = ''): Promise<TlsRegistrar> {
  count += 1
  const at = stack.use(await scratch()).path
  await put(first, at)
  const tls = `[tls]\ncertificate = "${at}/certificate.pem"\nkey = "${at}/key.pem"\n${more}`
  const registrar = await startRegistrarProcess(join(directory, `tls-${count}`), `${trust}${tls}`)
  const port = Number(new URL(registrar.origin).port)
  const end = () => registrar.end()
  return { ...registrar, port, directory: at, [Symbol.asyncDispose]: end }
}

const hasChannel = { channel: 'tls-exporter', nonce: expect.any(String) }

describe('enrolment over TLS that ends in the registrar', () => {
  test('evidence that binds the connection enrols', async () => {
    await using registrar = await tlsRegistrar()
    using connection = tlsConnection(registrar.port, { ca })
    expect(await connection.get('/enrol/nonce')).toEqual({ status: 200, body: hasChannel })
    expect(connection.socket().getProtocol()).toBe('TLSv1.3')
    expect(await enrolOver(instance, connection, registrar.url)).toMatchObject({
      status: 200,
      body: { state: 'active', generation: 1 },
    })
  })

  test('also through a relay of the bytes, which sees nothing of them', async () => {
    await using registrar = await tlsRegistrar()
    const relay = createPlain((inward) =>
      joinBoth(inward, connectPlain(registrar.port, '127.0.0.1')),
    )
    using connection = tlsConnection(await listening(relay), { ca })
    await connection.get('/enrol/nonce')
    expect((await enrolOver(instance, connection, registrar.url)).status).toBe(200)
    relay.close()
  })

  test('a relay in the middle, with a certificate that the instance trusts, is refused', async () => {
    await using registrar = await tlsRegistrar()
    const outward: TLSSocket[] = []
    const relay = createServer(
      { cert: await readFile(between.file), key: await readFile(between.keyFile) },
      (inward) => {
        const onward = connect({ ca, port: registrar.port, host: '127.0.0.1', servername: NAME })
        outward.push(onward)
        joinBoth(inward, onward)
      },
    )
    using connection = tlsConnection(await listening(relay), { ca })
    // It reads and writes all that passes, and the instance has no reason to distrust it.
    expect(await connection.get('/enrol/nonce')).toMatchObject({ status: 200, body: hasChannel })
    expect(connection.socket().authorized).toBe(true)
    const refused = { status: 403, body: expect.objectContaining({ error: 'VERIFY_BIND' }) }
    expect(await enrolOver(instance, connection, registrar.url)).toEqual(refused)
    // Told by the relay that there is no such thing as a channel, the instance would bind none.
    const bindsNone = { exporter: undefined }
    expect(await enrolOver(instance, connection, registrar.url, bindsNone)).toEqual(refused)
    // It would have to bind what it cannot compute: that of the relay's own connection.
    const [onward] = outward
    const relayed = { exporter: onward && tlsExporter(onward) }
    expect(await enrolOver(instance, connection, registrar.url, relayed)).toMatchObject({
      status: 200,
    })
    relay.close()
  })

  test('a proxy before a registrar without TLS is let pass, and nothing that binds more', async () => {
    const registrar = await startRegistrarProcess(join(directory, 'plain'), trust)
    await using _ = { [Symbol.asyncDispose]: () => registrar.end() }
    const port = Number(new URL(registrar.origin).port)
    const proxy = createServer(
      { cert: await readFile(first.file), key: await readFile(first.keyFile) },
      (inward) => joinBoth(inward, connectPlain(port, '127.0.0.1')),
    )
    using connection = tlsConnection(await listening(proxy), { ca })
    expect((await connection.get('/enrol/nonce')).body).toEqual({ nonce: expect.any(String) })
    expect(await enrolOver(instance, connection, registrar.url)).toMatchObject({
      body: { error: 'VERIFY_BIND' },
    })
    expect((await enrol(instance, registrar)).status).toBe(200)
    proxy.close()
  })
})

describe('versions', () => {
  test('TLS 1.2 is refused unless it is configured', async () => {
    await using registrar = await tlsRegistrar()
    using connection = tlsConnection(registrar.port, { ca, maxVersion: 'TLSv1.2' })
    await expect(connection.get('/jwks.json')).rejects.toThrow(/protocol version/)
  })

  test('with TLS 1.2 keys are read, and nobody enrols', async () => {
    await using registrar = await tlsRegistrar('minimum_version = "1.2"\n')
    using connection = tlsConnection(registrar.port, { ca, maxVersion: 'TLSv1.2' })
    expect((await connection.get('/jwks.json')).status).toBe(200)
    const refused = { status: 400, body: expect.objectContaining({ error: 'ENROL_CHANNEL' }) }
    expect(await connection.get('/enrol/nonce')).toEqual(refused)
    expect(await connection.post('/enrol/challenge', {})).toEqual(refused)
  })

  test('what speaks no TLS is hung up on', async () => {
    await using registrar = await tlsRegistrar()
    const socket = connectPlain(registrar.port, '127.0.0.1')
    socket.end('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
    let received = ''
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1')
    })
    await once(socket, 'close')
    expect(received).not.toContain('HTTP')
    using connection = tlsConnection(registrar.port, { ca })
    expect((await connection.get('/healthz')).status).toBe(200)
  })
})

describe('another certificate', () => {
  const organizationAt = async (port: number) => {
    using connection = tlsConnection(port, { ca })
    await connection.get('/healthz')
    return connection.socket().getPeerCertificate().subject.O
  }
  const told = ({ records }: RegistrarProcess, message: string) =>
    records.filter(({ msg }) => msg === message).length

  test('SIGHUP takes it over, and no connection is lost', async () => {
    await using registrar = await tlsRegistrar()
    using kept = tlsConnection(registrar.port, { ca })
    await kept.get('/healthz')
    const before = kept.socket()
    await put(second, registrar.directory)
    registrar.hangUp()
    await expect.poll(() => told(registrar, 'certificate taken over')).toBe(2)
    expect(await organizationAt(registrar.port)).toBe('Second')
    expect((await kept.get('/healthz')).status).toBe(200)
    expect(kept.socket()).toBe(before)
  })

  test('of one whose key is not there yet nothing is shown', async () => {
    await using registrar = await tlsRegistrar()
    await putKey(second.keyFile, registrar.directory)
    registrar.hangUp()
    await expect.poll(() => told(registrar, 'certificate not taken over')).toBe(1)
    expect(await organizationAt(registrar.port)).toBe('First')
    await put(second, registrar.directory)
    registrar.hangUp()
    await expect.poll(() => told(registrar, 'certificate taken over')).toBe(2)
    expect(await organizationAt(registrar.port)).toBe('Second')
  })
})

async function listening(server: ReturnType<typeof createPlain>): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

type Ends = Parameters<Parameters<typeof createPlain>[1] & object>[0]

function joinBoth(inward: Ends, onward: Ends): void {
  inward.pipe(onward).pipe(inward)
  inward.on('error', () => onward.destroy())
  onward.on('error', () => inward.destroy())
}
