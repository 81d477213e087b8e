/**
 * Somebody sets the wall clock back, further each time, before an application looks at its credentials, so that those
 * which have ended seem to live; and sees to it that the source gives no others.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { startSimulator } from '../../src/simulate/simulator.ts'
import { APP, ATTACKER, CREDENTIALS_PATH, ownAgent } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'
import { removeEndedClocks, throughFalseClock } from '../harness/false-clock.ts'
import { readAs } from '../harness/unix-http.ts'

const OPEN = '/latest/meta-data/instance-id'
const LIFE_S = 30

test('they end after their life in boot time', async (context) => {
  const clock = join(await placeOf(0), 'clock')
  await writeFile(clock, '+0')
  const cloud = await startSimulator({ role: 'demo-role', credentialLifetimeSeconds: LIFE_S })
  onTestFinished(() => cloud.close())
  onTestFinished(removeEndedClocks)
  const { instance } = await ownAgent(context, {
    source: cloud.url,
    agent: { through: throughFalseClock({ file: clock }) },
  })
  const { metadataSocket } = instance
  const read = () => readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH)
  expect((await read()).body).toContain('AccessKeyId')
  const beganMs = performance.now()
  cloud.faults.set({ kind: 'reset', path: '/latest/meta-data/ram' })
  let looks = 0
  for (let body = 'AccessKeyId'; body.includes('AccessKeyId'); looks += 1) {
    // By the wall clock they have hours to live.
    await writeFile(clock, `-${1 + looks}h`)
    await sleep(1000)
    const before = performance.now()
    body = (await read()).body
    if (body.includes('AccessKeyId')) expect(before - beganMs).toBeLessThan(LIFE_S * 1000 + 5000)
    expect((await readAs({ uid: ATTACKER }, metadataSocket, OPEN)).status).toBe(200)
  }
  expect((await read()).status).toBe(503)
})
