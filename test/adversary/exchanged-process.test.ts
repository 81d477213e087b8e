/**
 * A user's process connects, and then becomes one that the policy allows: it gets into the allowed unit; or it ends and
 * leaves the connection to its child, while a process of the allowed unit gets its number.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import {
  APP_POLICY,
  accomplice,
  CREDENTIALS_PATH,
  ownAgent,
  whileServed,
} from '../harness/attack.ts'
import { makeCgroups, nextPid } from '../harness/peer.ts'
import { PYTHON_UNIX_HTTP } from '../harness/python-unix-http.ts'
import { readAs } from '../harness/unix-http.ts'

const USER = 61_113
const UNIT = `allowed-${process.pid}.service`
const POLICY = `${APP_POLICY}
[[rule]]
effect = "allow"
users = [${USER}]
units = ["${UNIT}"]
paths = ["${CREDENTIALS_PATH}"]
`
// Told "ask", it asks for the credentials; told "end", its first process ends, and its child asks when a file is there.
const CONNECT = `${PYTHON_UNIX_HTTP}import os,time
there = Unix('metadata')
def ask(verb, path, header, value):
  there.request(verb, path, headers={'x-aliyun-ecs-metadata-token' + header: value})
  answer = there.getresponse()
  return answer.status, answer.read().decode()
token = ask('PUT', '/latest/api/token', '-ttl-seconds', '600')[1]
def judged():
  status, body = ask('GET', sys.argv[2], '', token)
  print(status, body.split(':')[0], flush=True)
while line := os.read(0, 100):
  if line == b'end\\n':
    first = os.getpid()
    if os.fork() > 0: os._exit(0)
    while os.getppid() == first: pass
    print('ended', flush=True)
    while not os.path.exists(sys.argv[3]): time.sleep(0.01)
    judged()
    break
  judged()`

test('a connection is its first process’s, as it was then', async (context) => {
  const { instance, directory } = await ownAgent(context, { policy: POLICY })
  const { metadataSocket } = instance
  const cgroups = makeCgroups()
  onTestFinished(() => cgroups.remove())
  const [own = '', allowed = ''] = [`own-${process.pid}.service`, UNIT].map((name) =>
    cgroups.make(`system.slice/${name}`),
  )
  const now = join(directory, 'now')
  const args = [metadataSocket, CREDENTIALS_PATH, now]
  const inside = { uid: USER, cgroups: [allowed] }
  expect((await readAs(inside, metadataSocket, CREDENTIALS_PATH)).status).toBe(200)
  await whileServed(metadataSocket, async () => {
    const moved = accomplice(CONNECT, args, { uid: USER, cgroups: [own] })
    expect(await moved.told('ask')).toBe('403 POLICY_DENIED')
    await moved.end()
    const late = accomplice(CONNECT, args, { uid: USER, cgroups: [own] })
    // Its token is made, so the agent has looked at it.
    expect(await late.told('ask')).toBe('403 POLICY_DENIED')
    await writeFile(`${allowed}/cgroup.procs`, String(late.pid))
    expect(await late.told('ask')).toBe('403 POLICY_DENIED')
    await late.end()

    const gone = accomplice(CONNECT, args, { uid: USER, cgroups: [own] })
    expect(await gone.told('ask')).toBe('403 POLICY_DENIED')
    expect(await gone.told('end')).toBe('ended')
    nextPid(gone.pid)
    const trusted = accomplice(
      'import sys\nprint("here", flush=True)\nsys.stdin.read()',
      [],
      inside,
    )
    expect(await trusted.said()).toBe('here')
    await writeFile(now, '')
    expect(await gone.said()).toMatch(/^403 (CALLER_UNKNOWN|POLICY_DENIED)$/)
  })
})
