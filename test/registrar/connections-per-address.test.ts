import { once } from 'node:events'
import { chmod, copyFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { closeLog, openLog } from '../../src/log.ts'
import { type Registrar, startRegistrar } from '../../src/registrar/registrar.ts'
import { parseRegistrarConfig } from '../../src/registrar/registrar-config.ts'
import { OpensslPki } from '../harness/openssl-pki.ts'
import { scratchDirectory } from '../harness/scratch.ts'

/** What one address can hold of a registrar's connections, at a registrar that listens. */

const PER_ADDRESS = 3
const [PROXY, ONE, OTHER] = ['127.0.0.2', '127.0.0.3', '127.0.0.4'] as const
const ASKED = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'

const log = openLog('error')
afterAll(() => closeLog(log))

let stack: AsyncDisposableStack
let directory: string
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratchDirectory()).path
  return () => stack.disposeAsync()
})

const textOf = (more: string) => `url = "https://registrar.example"
[listen]
port = 0
trusted_proxies = ["${PROXY}"]
[storage]
database = "${directory}/registrar.db"
master_key = "${directory}/master.key"
[limits]
${more}`
const configOf = (more: string) => parseRegistrarConfig([{ file: 'r.toml', text: textOf(more) }])

async function started(more = ''): Promise<Registrar> {
  const registrar = await startRegistrar(
    configOf(`connections_per_address = ${PER_ADDRESS}\n${more}`),
    log,
  )
  stack.defer(() => registrar.close())
  return registrar
}

async function connected({ port }: Registrar, localAddress: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, localAddress })
  stack.defer(() => void socket.destroy())
  // Of what is closed a reset may be seen as well as an end.
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

/** @returns whether it is answered, and not closed */
function isAnswered(socket: Socket): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  socket.once('data', () => resolve(true))
  socket.once('close', () => resolve(false))
  socket.write(ASKED)
  return promise
}

async function answered(registrar: Registrar, address: string, times: number): Promise<boolean[]> {
  const all: boolean[] = []
  for (let at = 0; at < times; at += 1) {
    all.push(await isAnswered(await connected(registrar, address)))
  }
  return all
}

const times = (count: number, value: boolean) => Array(count).fill(value)

test('one address has its share, others theirs, and a proxy of ours what it needs', async () => {
  const registrar = await started()
  const kept = await connected(registrar, ONE)
  expect(await isAnswered(kept)).toBe(true)
  expect(await answered(registrar, ONE, PER_ADDRESS + 1)).toEqual([
    ...times(PER_ADDRESS - 1, true),
    ...times(2, false),
  ])
  expect(await answered(registrar, OTHER, PER_ADDRESS)).toEqual(times(PER_ADDRESS, true))
  expect(await answered(registrar, PROXY, 2 * PER_ADDRESS)).toEqual(times(2 * PER_ADDRESS, true))
  // What was closed makes room.
  kept.destroy()
  await expect.poll(() => answered(registrar, ONE, 1)).toEqual([true])
  expect(await answered(registrar, ONE, 1)).toEqual([false])
})

test('a reload changes it', async () => {
  const registrar = await started()
  expect(await answered(registrar, ONE, PER_ADDRESS + 1)).toEqual([
    ...times(PER_ADDRESS, true),
    false,
  ])
  const read = () => configOf(`connections_per_address = ${PER_ADDRESS + 1}\n`)
  expect(registrar.reload(read)).toEqual([])
  expect(await answered(registrar, ONE, 2)).toEqual([true, false])
})

test('handshakes that are never ended count, and those that were are given back', async () => {
  const { file, keyFile } = new OpensslPki().certificate({ subject: '/O=One', extensions: [] })
  const [certificate, key] = [join(directory, 'certificate.pem'), join(directory, 'key.pem')]
  await copyFile(file, certificate)
  await copyFile(keyFile, key)
  await chmod(key, 0o600)
  const registrar = await started(`[tls]\ncertificate = "${certificate}"\nkey = "${key}"\n`)
  const isAnsweredByTls = async (address: string) => {
    const socket = await connected(registrar, address)
    const ofTls = connectTls({ socket, rejectUnauthorized: false })
    ofTls.on('error', () => undefined)
    const is = await isAnswered(ofTls)
    ofTls.destroy()
    return is
  }
  for (let at = 0; at < 3 * PER_ADDRESS; at += 1) {
    await expect.poll(() => isAnsweredByTls(ONE)).toBe(true)
  }
  const held: Socket[] = []
  for (let at = 0; at < PER_ADDRESS; at += 1) held.push(await connected(registrar, OTHER))
  expect(await isAnsweredByTls(OTHER)).toBe(false)
  expect(await isAnsweredByTls(ONE)).toBe(true)
  for (const socket of held) socket.destroy()
  await expect.poll(() => isAnsweredByTls(OTHER)).toBe(true)
})
