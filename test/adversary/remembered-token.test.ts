/**
 * A user keeps a connection open on which its token was good, and goes on using it there when it has expired and when root
 * has revoked it; another user shows it on a connection of its own meanwhile.
 */

import { expect, test } from 'vitest'
import { APP, accomplice, metabindAs, ownAgent, whileServed } from '../harness/attack.ts'
import { PYTHON_UNIX_HTTP } from '../harness/python-unix-http.ts'
import { readAs } from '../harness/unix-http.ts'

const KEEP = `${PYTHON_UNIX_HTTP}there = Unix('metadata')
token = ''
for line in sys.stdin:
  verb, value = line.split()
  header = 'x-aliyun-ecs-metadata-token' + ('-ttl-seconds' if verb == 'PUT' else '')
  path = '/latest/api/token' if verb == 'PUT' else '/latest/meta-data/instance-id'
  there.request(verb, path, headers={header: value})
  answer = there.getresponse()
  print(answer.status, answer.read().decode(), there.sock.fileno(), flush=True)`

test('a token ends on the connection that it was good on', async (context) => {
  const { instance } = await ownAgent(context)
  const { metadataSocket } = instance
  const user = accomplice(KEEP, [metadataSocket])
  const made = async (seconds: number) => (await user.told(`PUT ${seconds}`)).split(' ')[1] ?? ''
  const shown = async (token: string) => (await user.told(`GET ${token}`)).split(' ')[0]
  await whileServed(metadataSocket, async () => {
    const short = await made(1)
    const statuses = []
    do statuses.push(await shown(short))
    while (statuses.at(-1) === '200' && statuses.length < 100_000)
    for (let again = 0; again < 20; again += 1) statuses.push(await shown(short))
    expect(statuses.slice(-21)).toEqual(Array(21).fill('401'))
    expect(statuses[0]).toBe('200')

    const long = await made(600)
    expect(await shown(long)).toBe('200')
    const other = await readAs({ uid: APP }, metadataSocket, '/latest/meta-data/instance-id', long)
    expect(other.status).toBe(401)
    expect(await shown(long)).toBe('200')
  })
  const long = await made(600)
  expect(await shown(long)).toBe('200')
  expect(await metabindAs(0, ['revoke', '--all'], instance)).toMatchObject({ code: 0 })
  expect(await shown(long)).toBe('401')
})
