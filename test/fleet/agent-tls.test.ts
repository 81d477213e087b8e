import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startInstance } from '../harness/instance.ts'
import { agentStatus, eventually, scratch } from '../harness/metabind.ts'
import { AUTHORITY_EXTENSIONS, OpensslPki } from '../harness/openssl-pki.ts'
import { startRegistrarProcess, trustOf } from './registrar-process.ts'

/** An agent whose evidence has to bind its connection, as TLS ends in the registrar; a relay of plain bytes is between. */

const NAME = 'registrar.example'
const pki = new OpensslPki()
const authority = pki.certificate({ subject: '/CN=Own', extensions: AUTHORITY_EXTENSIONS })
const leaf = pki.certificate({
  subject: `/CN=${NAME}`,
  extensions: [
    'basicConstraints = critical,CA:FALSE',
    `subjectAltName = DNS:${NAME}`,
    'authorityKeyIdentifier = keyid',
  ],
  under: authority,
})

const stack = new AsyncDisposableStack()
let directory: string
beforeAll(async () => {
  directory = stack.use(await scratch()).path
  stack.defer(() => pki.remove())
})
afterAll(() => stack.disposeAsync())

test('it enrols, and each enrolment binds its own connection', async () => {
  let port: number | undefined
  const relay = createServer((inward) => {
    if (port === undefined) inward.destroy()
    else joinBoth(inward, connect(port, '127.0.0.1'))
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  stack.defer(() => void relay.close())
  const { port: relayPort } = relay.address() as AddressInfo // of TCP
  const config = `[registrar]
url = "https://${NAME}"
address = "127.0.0.1:${relayPort}"
authorities = "${authority.file}"
`
  const instance = await startInstance(join(directory, 'one'), { certified: true, config })
  stack.defer(() => instance.stop())
  const tls = `[tls]\ncertificate = "${leaf.file}"\nkey = "${leaf.keyFile}"\n`
  const trust = await trustOf(instance.directory)
  const registrar = await startRegistrarProcess(join(directory, 'registrar'), `${trust}${tls}`)
  stack.defer(() => registrar.end())
  port = Number(new URL(registrar.origin).port)
  const generation = async () => {
    const file = join(instance.stateDirectory, 'registrar.json')
    return existsSync(file) ? JSON.parse(await readFile(file, 'utf8')).generation : 0
  }
  await eventually(generation, (seen) => seen === 1)
  await instance.restartAgent()
  await eventually(generation, (seen) => seen === 2)
  expect((await agentStatus(instance)).registrar).toMatchObject({ state: 'enrolled' })
})

function joinBoth(inward: Socket, outward: Socket): void {
  for (const [one, other] of [
    [inward, outward],
    [outward, inward],
  ] as const) {
    one.on('error', () => other.destroy())
    one.pipe(other)
  }
}
