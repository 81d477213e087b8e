/**
 * Somebody sets the wall clock back by an hour, again and again, while a token of two seconds runs out, so that it may live
 * on; and forward by a year, so that those of others end.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { ATTACKER, accomplice, ownAgent, whileServed } from '../harness/attack.ts'
import { removeEndedClocks, throughFalseClock } from '../harness/false-clock.ts'
import { scratch } from '../harness/metabind.ts'
import { PYTHON_UNIX_HTTP } from '../harness/python-unix-http.ts'
import { tokenAs } from '../harness/unix-http.ts'

const READ = `${PYTHON_UNIX_HTTP}there = Unix('metadata')
def ask(verb, path, **headers):
  there.request(verb, path, headers={'x-aliyun-ecs-metadata-' + name.replace('_', '-'): headers[name] for name in headers})
  answer = there.getresponse()
  return answer.status, answer.read().decode()
token = ask('PUT', '/latest/api/token', token_ttl_seconds='2')[1]
for line in sys.stdin: print(ask('GET', '/latest/meta-data/instance-id', token=token)[0], flush=True)`

test('a token ends after two seconds whatever the clock says, and no other one does', async (context) => {
  const folder = await scratch()
  onTestFinished(() => folder[Symbol.asyncDispose]())
  const clock = join(folder.path, 'clock')
  await writeFile(clock, '+0')
  onTestFinished(removeEndedClocks)
  const { instance } = await ownAgent(context, {
    agent: { through: throughFalseClock({ file: clock }) },
  })
  const { metadataSocket, agent } = instance
  await whileServed(metadataSocket, async () => {
    const thief = accomplice(READ, [metadataSocket])
    expect(await thief.told('now')).toBe('200')
    let status = '200'
    for (let hours = 1; status === '200'; hours += 1) {
      await writeFile(clock, `-${hours}h`)
      await sleep(200)
      status = await thief.told('now')
      expect(hours, 'the token lives on').toBeLessThan(100)
    }
    expect(status).toBe('401')
    await writeFile(clock, '+1y')
    await writeFile(clock, '-10y')
    expect(await thief.told('now')).toBe('401')
  })
  const { body } = await tokenAs({ uid: ATTACKER }, metadataSocket)
  expect(body).not.toBe('')
  agent.child.kill('SIGHUP')
  const { time } = await agent.until(({ msg }) => String(msg).startsWith('configuration reloaded'))
  // The clock was set for the agent, too.
  expect(new Date().getFullYear() - new Date(String(time)).getFullYear()).toBeGreaterThan(8)
})
