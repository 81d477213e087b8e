import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeToken, read, TOKEN_HEADER, TOKEN_PATH, TTL_HEADER } from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { CLI } from '../harness/programs.ts'
import { requireRoot } from '../harness/root.ts'

/** A second real caller: curl, run as another user, so that the kernel says who asks. */

const run = promisify(execFile)
const OTHER_UID = 65534
const SECRET_PATH = '/latest/user-data'
const WHOAMI = '/metabind/v1/whoami'

let directory: string
let instance: Instance
beforeAll(async () => {
  directory = await mkdtemp('/tmp/mb-')
  // The socket is for everybody; the way to it must be too.
  await chmod(directory, 0o711)
  instance = await startInstance(directory)
})
afterAll(async () => {
  await instance?.stop()
  await rm(directory, { recursive: true, force: true })
})

/** What curl, run by the other user, is answered: the body, a line end and the status. */
async function curlAsOther(path: string, ...options: string[]): Promise<string> {
  const write = ['--write-out', '\n%{http_code}']
  const url = `http://localhost${path}`
  const args = ['-sS', '--unix-socket', instance.metadataSocket, ...write, ...options, url]
  const asOther = { uid: OTHER_UID, gid: OTHER_UID, cwd: '/' }
  return (await run('curl', args, asOther)).stdout
}

const makeTokenAsOther = async () => {
  const answered = await curlAsOther(TOKEN_PATH, '-X', 'PUT', '-H', `${TTL_HEADER}: 60`)
  const [token = '', status] = answered.split('\n')
  expect(status).toBe('200')
  return token
}
const readAsOther = (token: string, path = WHOAMI) =>
  curlAsOther(path, '-H', `${TOKEN_HEADER}: ${token}`)

describe('another user', () => {
  test.beforeEach((context) => {
    requireRoot(context, 'only root can start a process as another user')
  })

  test('reads with a token of its own, and is known by its uid', async () => {
    const answered = await readAsOther(await makeTokenAsOther())
    const [body = '', status] = answered.split('\n')
    expect(status).toBe('200')
    expect(JSON.parse(body)).toMatchObject({ uid: OTHER_UID, gid: OTHER_UID })
    const { caller } = await instance.agent.until(
      (record) => record.event === 'token.issued' && uidOf(record) === OTHER_UID,
    )
    expect(caller).toMatchObject({ uid: OTHER_UID, gid: OTHER_UID })
  })

  test('is refused with a token of root, on record', async () => {
    const token = await makeToken(instance.metadataSocket)
    for (const path of [WHOAMI, '/latest/meta-data/instance-id', '/no-such']) {
      expect(await readAsOther(token, path)).toMatch(/^TOKEN_CALLER: .+\n401$/)
    }
    expect((await read(instance.metadataSocket, WHOAMI, token)).status).toBe(200)
    expect(await instance.agent.until((record) => record.code === 'TOKEN_CALLER')).toMatchObject({
      event: 'token.refused',
      caller: { uid: OTHER_UID, gid: OTHER_UID },
      detail: 'made for uid 0',
      path: WHOAMI,
    })
  })

  test('and root is refused with a token of that user', async () => {
    const token = await makeTokenAsOther()
    const answered = await read(instance.metadataSocket, WHOAMI, token)
    expect([answered.status, answered.body]).toEqual([
      401,
      'TOKEN_CALLER: The session token belongs to another caller.',
    ])
  })

  test('cannot pass for root in a header', async () => {
    const token = await makeToken(instance.metadataSocket)
    const forged = [
      'X-Uid: 0',
      'X-User: root',
      'Authorization: Basic cm9vdDo=',
      'Remote-User: root',
    ]
    const answered = await curlAsOther(
      WHOAMI,
      ...[...forged, `${TOKEN_HEADER}: ${token}`].flatMap((header) => ['-H', header]),
    )
    expect(answered).toMatch(/\n401$/)
  })

  test('cannot reach the admin socket', async () => {
    const args = [
      '-sS',
      '--unix-socket',
      instance.adminSocket,
      'http://localhost/metabind/v1/status',
    ]
    await expect(
      run('curl', args, { uid: OTHER_UID, gid: OTHER_UID, cwd: '/' }),
    ).rejects.toMatchObject({ code: 7, stdout: '' })
  })
})

interface Said {
  readonly code: number
  readonly out: string
}

/** The command line, run by the other user, who may not open the admin socket. */
function metabindAsOther(args: readonly string[], input = ''): Promise<Said> {
  const sockets = ['--socket', instance.metadataSocket, '--admin-socket', instance.adminSocket]
  const command = [CLI, ...args, ...sockets]
  return new Promise((resolve) => {
    const asOther = { uid: OTHER_UID, gid: OTHER_UID, cwd: '/' }
    const child = execFile(process.execPath, command, asOther, (failed, out, error) => {
      const code = typeof failed?.code === 'number' ? failed.code : 0
      resolve({ code, out: `${out}${error}` })
    })
    child.stdin?.end(input)
  })
}

describe('another user, to whom the admin socket is closed', () => {
  test.beforeEach((context) => {
    requireRoot(context, 'only root can start a process as another user')
  })

  test('is told why a path is refused, and by which rule, but nothing of other rules', async () => {
    const refused = await metabindAsOther(['explain', SECRET_PATH])
    expect(refused).toMatchObject({ code: 3, out: expect.stringContaining('refused') })
    const named = await metabindAsOther(['explain', String(OTHER_UID), SECRET_PATH, '--json'])
    expect(JSON.parse(named.out)).toEqual({
      schema: 'metabind.explain/1',
      allowed: false,
      rule: 'default',
      why: expect.stringContaining('secret'),
      mode: 'enforce',
      path: SECRET_PATH,
    })
    expect(await metabindAsOther(['explain', 'instance-id'])).toMatchObject({ code: 0 })
    const absent = await metabindAsOther(['explain', 'no-such'])
    expect(absent.out).toMatch(/^\/latest\/meta-data\/no-such: unknown: .* it would be allowed: /)
  })

  test('is told nothing about others', async () => {
    const asked = await metabindAsOther(['explain', 'root', SECRET_PATH])
    expect(asked).toMatchObject({ code: 1, out: expect.stringContaining('SOCKET_NOT_PERMITTED') })
  })

  test('is told of its own token whether it is good', async () => {
    const token = await makeTokenAsOther()
    expect(await metabindAsOther(['inspect'], token)).toMatchObject({
      code: 0,
      out: expect.stringContaining(`for uid ${OTHER_UID} only`),
    })
    expect(await metabindAsOther(['inspect'], altered(token, 40))).toMatchObject({ code: 5 })
    expect(await metabindAsOther(['inspect'], 'no token\n')).toMatchObject({ code: 5 })
  })

  test("is told of another user's token only what it says itself, genuine or forged", async () => {
    const token = await makeToken(instance.metadataSocket, 60)
    const genuine = await metabindAsOther(['inspect', '--json'], token)
    expect(genuine).toMatchObject({ code: 6, out: expect.stringContaining('TOKEN_CALLER') })
    expect(await metabindAsOther(['inspect', '--json'], altered(token, 40))).toEqual(genuine)
  })

  test('who inspects a token of another instance leaves a record', async () => {
    const foreign = altered(await makeTokenAsOther(), 6)
    const told = await metabindAsOther(['inspect'], foreign)
    expect(told).toMatchObject({ code: 4, out: expect.stringContaining('TOKEN_FOREIGN') })
    await instance.agent.until(
      (record) => record.event === 'token.foreign' && uidOf(record) === OTHER_UID,
    )
  })
})

/** A token with one byte of another value: of the iid from 6 on, of the MAC from 32 on. */
function altered(token: string, at: number): string {
  const bytes = Buffer.from(token, 'base64url')
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  return bytes.toString('base64url')
}

function uidOf(record: Readonly<Record<string, unknown>>): unknown {
  const { caller } = record
  return typeof caller === 'object' && caller !== null && 'uid' in caller ? caller.uid : undefined
}
