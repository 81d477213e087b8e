/**
 * The metadata source answers a request for credentials with JSON nested hundreds of thousands deep, or with as many
 * members, while all other users want theirs: each time anew, for each role that is asked for.
 */
import { expect, test } from 'vitest'
import { APP, ownAgent, whileServed } from '../harness/attack.ts'
import { askAs } from '../harness/unix-http.ts'

const ROLES = '/latest/meta-data/ram/security-credentials'
const HEADERS = { 'x-aliyun-ecs-metadata-token-ttl-seconds': '60' }
const BODIES = [
  ...['[', '{"a":', '{"Code":"Success","Expiration":['].map((open) =>
    open.repeat(900_000 / open.length),
  ),
  `{${Array.from({ length: 60_000 }, (_, at) => `"k${at}":1`).join()}}`,
  '['.repeat(30_000) + ']'.repeat(30_000),
]

test('each is refused, and nobody else waits for it', async (context) => {
  const { instance, cgroup } = await ownAgent(context)
  const { metadataSocket, cloud, agent } = instance
  await whileServed(metadataSocket, async () => {
    for (const [at, body] of BODIES.entries()) {
      const path = `${ROLES}/deep${at}-`
      cloud?.faults.set({ kind: 'status', code: 200, body, path })
      const asked = Array.from({ length: 8 }, (_, one) => ['GET', `${path}${one}`, {}] as const)
      const answers = await askAs({ uid: APP }, metadataSocket, [
        ['PUT', '/latest/api/token', HEADERS],
        ...asked,
      ])
      const codes = answers
        .slice(1)
        .map(({ status, body: said }) => `${status} ${said.split(':')[0]}`)
      expect([at, [...new Set(codes)]]).toEqual([at, ['502 SOURCE_NONSENSE']])
    }
  })
  expect([agent.child.exitCode, await cgroup.kills()]).toEqual([null, 0])
})
