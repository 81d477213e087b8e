/**
 * A user makes tokens as fast as it can until it is refused, some five thousand, and shows the last ones, to have the
 * agent keep them all in memory, or forget those of others for them.
 */

import { expect, test } from 'vitest'
import { ATTACKER, attack, ownAgent, whileServed } from '../harness/attack.ts'
import { PYTHON_UNIX_HTTP } from '../harness/python-unix-http.ts'
import { readAs } from '../harness/unix-http.ts'

const MAKE = `${PYTHON_UNIX_HTTP}there = Unix('metadata')
def ask(verb, path, header, value):
  there.request(verb, path, headers={'x-aliyun-ecs-metadata-token' + header: value})
  answer = there.getresponse()
  return answer.status, answer.read().decode()
made = []
while True:
  status, token = ask('PUT', '/latest/api/token', '-ttl-seconds', '21600')
  if status != 200: break
  made.append(token)
shown = {ask('GET', '/latest/meta-data/instance-id', '', token)[0] for token in made[:1000] + made[-1000:]}
print(status, len(made), len(set(made)), *shown)
print(made[0])`

test('as many tokens as one may make cost no memory: even a killed agent knows the first', async (context) => {
  // At the usual rate a slow machine would never be refused.
  const limits = '[limits]\nmint_burst = 5000\nmints_per_second = 1\n'
  const { instance, cgroup } = await ownAgent(context, { config: limits })
  const { metadataSocket } = instance
  const [said = '', first = ''] = (
    await whileServed(metadataSocket, () => attack(MAKE, [metadataSocket]))
  ).split('\n')
  const [status, made = 0, different, ...shown] = said.split(' ').map(Number)
  expect([status, shown]).toEqual([429, [200]])
  expect(made).toBeGreaterThanOrEqual(5000)
  expect(different).toBe(made)
  expect(await cgroup.kills()).toBe(0)
  await instance.restartAgent('SIGKILL')
  const read = readAs({ uid: ATTACKER }, metadataSocket, '/latest/meta-data/instance-id', first)
  expect(await read).toMatchObject({ status: 200 })
})
