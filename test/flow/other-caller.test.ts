import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeToken, read, TOKEN_HEADER, TOKEN_PATH, TTL_HEADER } from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { requireRoot } from '../harness/root.ts'

/** A second real caller: curl, run as another user, so that the kernel says who asks. */

const run = promisify(execFile)
const OTHER_UID = 65534
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

function uidOf(record: Readonly<Record<string, unknown>>): unknown {
  const { caller } = record
  return typeof caller === 'object' && caller !== null && 'uid' in caller ? caller.uid : undefined
}
