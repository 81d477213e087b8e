import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { json, text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CurlAnswer, curlAs, NOBODY } from '../harness/as-uid.ts'
import { runNode, scratch } from '../harness/metabind.ts'
import { CLI } from '../harness/programs.ts'
import { registrarCommand } from './registrar-command.ts'
import { type RegistrarProcess, startRegistrarProcess } from './registrar-process.ts'
import { ADMITS_SOFTWARE, enrolledSoftware } from './software-enrolled.ts'
import { identityTokenOfSoftware } from './software-instance.ts'

/** What administrators read of a registrar, over its socket and with curl. */

const stack = new AsyncDisposableStack()
let registrar: RegistrarProcess
let socket: string
beforeAll(async () => {
  const { path } = stack.use(await scratch())
  const open = join(path, 'open')
  await mkdir(open)
  // Nothing but the mode of the socket stands before others.
  for (const directory of [path, open]) await chmod(directory, 0o755)
  socket = join(open, 'api.socket')
  const more = `${ADMITS_SOFTWARE}[[audience]]\nname = "sts.example"\n[api]\nsocket = "${socket}"\n`
  registrar = await startRegistrarProcess(join(path, 'r'), more)
  stack.defer(() => registrar.end())
  const [first] = await Promise.all(
    ['i-one', 'i-two', 'i-three'].map((id) => enrolledSoftware(registrar, id)),
  )
  if (first === undefined) throw new Error('none')
  const exchanged = await fetch(`${registrar.origin}/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      subject_token: identityTokenOfSoftware(first, registrar.url),
      audience: 'sts.example',
    }),
  })
  expect(exchanged.status).toBe(200)
})
afterAll(() => stack.disposeAsync())

const ask = (path: string, ...more: readonly string[]): Promise<CurlAnswer> =>
  curlAs(process.getuid?.() ?? 0, socket, path, ...more)

async function read(path: string) {
  const { status, body } = await ask(path)
  expect(status, body).toBe(200)
  return JSON.parse(body)
}

test('instances come in pages, as the verb lists them', async () => {
  const first = await read('/instances?count=2')
  expect(first.instances).toHaveLength(2)
  expect(first.next).toBe(first.instances[1].iid)
  const second = await read(`/instances?count=2&after=${first.next}`)
  expect(second).toEqual({ instances: [expect.objectContaining({ state: 'active' })] })
  const { stdout } = await registrarCommand(registrar, 'list', '--json')
  const listed = stdout.trim().split('\n')
  expect([...first.instances, ...second.instances].map((one) => JSON.stringify(one))).toEqual(
    listed,
  )
  expect(await read('/instances')).toMatchObject({ instances: { length: 3 } })
})

test('of one it is said for whom it was given tokens, and of one that nobody knows nothing', async () => {
  const { instances } = await read('/instances')
  const { iid } = instances.find(({ instanceId }: { instanceId: string }) => instanceId === 'i-one')
  const uses = [{ audience: 'sts.example', tokens: 1, lastAtMs: expect.any(Number) }]
  expect(await read(`/instances/${iid}`)).toMatchObject({ iid, instanceId: 'i-one', uses })
  for (const word of ['00'.repeat(16), 'i-one', '..%2fevents', iid.slice(1)]) {
    const { status, body } = await ask(`/instances/${word}`)
    expect([status, JSON.parse(body).error], word).toEqual([404, 'ENROL_UNKNOWN'])
  }
})

test('events are the lines of the chain, which holds', async () => {
  const { events: first, next } = await read('/events?count=2')
  expect(next).toBe(2)
  const { events: rest, ...end } = await read(`/events?after=${next}`)
  expect(end).toEqual({})
  const lines = [...first, ...rest].map((event) => JSON.stringify(event))
  const file = `${registrar.config}.events`
  await writeFile(file, `${lines.join('\n')}\n`)
  expect((await runNode([CLI, 'audit', 'verify', file])).code).toBe(0)
  expect(`${lines.join('\n')}\n`).toBe((await registrarCommand(registrar, 'events')).stdout)
})

test.each([
  '/instances?count=0',
  '/instances?count=501',
  '/instances?count=1e2',
  '/instances?count=1&count=2',
  '/instances?after=i-one',
  '/instances?before=1',
  '/events?after=-1',
  '/events?after=9999999999999999',
])('%s is refused', async (path) => {
  const { status, body } = await ask(path)
  expect([status, JSON.parse(body).error]).toEqual([400, 'REGISTRAR_QUERY'])
})

test('nothing can be changed, and nothing of the registrar’s own address is here, or the other way round', async () => {
  const { instances } = await read('/instances')
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    const path = `/instances/${instances[0].iid}`
    expect((await ask(path, '--request', method)).status, method).toBe(404)
  }
  expect((await ask('/enrol/nonce')).status).toBe(404)
  expect((await fetch(`${registrar.origin}/instances`)).status).toBe(404)
  expect(await read('/instances')).toEqual({ instances })
})

describe('who may open it', () => {
  test('its mode is for its owner and its group', async () => {
    expect((await stat(socket)).mode & 0o777).toBe(0o660)
  })

  test('another user may not, a member of the group may (root)', async () => {
    // curl has nobody to ask.
    expect(await curlAs(NOBODY, socket, '/instances')).toEqual({
      status: Number.NaN,
      head: '',
      body: '',
    })
    const group = process.getgid?.() ?? 0
    const url = 'http://registrar/instances'
    const member = spawn('curl', ['--silent', '--unix-socket', socket, url], {
      uid: NOBODY,
      gid: group,
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: '/',
    })
    expect(await json(member.stdout)).toMatchObject({ instances: { length: 3 } })
  })
})

test('one who keeps a connection is answered, and does not hold up the end; then the socket has gone', async () => {
  const { path } = stack.use(await scratch())
  const place = join(path, 'api.socket')
  const other = await startRegistrarProcess(join(path, 'r'), `[api]\nsocket = "${place}"\n`)
  stack.defer(() => other.end())
  const asked = 'GET /instances HTTP/1.1\r\nHost: r\r\n\r\n'
  const kept = connect(place)
  const printed = text(kept)
  kept.write(asked)
  await once(kept, 'readable')
  await other.end()
  expect(await printed).toMatch(/^HTTP\/1\.1 200 [\s\S]*\{"instances":\[\]\}$/)
  await expect(stat(place)).rejects.toThrow('ENOENT')
})
