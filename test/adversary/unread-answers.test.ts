/**
 * A user opens as many connections as it gets, asks on each for what is long, seventy times over, and reads no answer; who
 * is closed comes again.
 */
import { expect, test } from 'vitest'
import { ATTACKER, ownAgent, whileServed } from '../harness/attack.ts'
import { floodAs } from '../harness/flood-as.ts'
import { tokenAs } from '../harness/unix-http.ts'

test('unread answers are never as much as the memory of the unit', async (context) => {
  const { instance, directory, cgroup } = await ownAgent(context)
  const { metadataSocket: socket, agent } = instance
  const { body: token } = await tokenAs({ uid: ATTACKER }, socket)
  const request = `GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\nX-aliyun-ecs-metadata-token: ${token}\r\n\r\n`
  const flood = { socket, connections: 1200, seconds: 5, reads: false, request, times: 70 }
  const opened = await whileServed(socket, () => floodAs(ATTACKER, directory, flood))
  expect(opened).toBeGreaterThan(1000)
  expect(await cgroup.kills()).toBe(0)
  expect([agent.child.exitCode, agent.child.signalCode]).toEqual([null, null])
})
