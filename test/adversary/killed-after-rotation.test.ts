/**
 * Somebody who wants to hide what is on record renames the audit file as a rotation does, kills the agent before it
 * writes another line, and takes the renamed file away: so that the new one begins as if nothing had been before.
 */
import { rename } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { APP, ATTACKER, whileServed } from '../harness/attack.ts'
import { auditedAgent, recordsIn } from '../harness/audited.ts'
import { runMetabind } from '../harness/packaged-command.ts'
import { tokenAs } from '../harness/unix-http.ts'

test('the next agent goes on from the end of what is missing', async (context) => {
  const { instance, file } = await auditedAgent(context)
  await tokenAs({ uid: ATTACKER }, instance.metadataSocket)
  await expect.poll(() => recordsIn(file).some(({ event }) => event === 'token.issued')).toBe(true)
  await rename(file, `${file}.1`)
  await instance.restartAgent('SIGKILL')
  await whileServed(instance.metadataSocket, () => tokenAs({ uid: APP }, instance.metadataSocket))
  await instance.agent.stop()
  const hidden = recordsIn(`${file}.1`)
  const last = hidden.at(-1)
  expect(recordsIn(file)[0]).toMatchObject({
    event: 'chain.start',
    seq: Number(last?.seq) + 1,
    prev: last?.hash,
  })
  const verify = (...args: string[]) => runMetabind(instance, ['audit', 'verify', ...args])
  expect(await verify(`${file}.1`, file)).toMatchObject({ code: 0 })
  // Who sees the new one alone sees where it begins.
  expect((await verify(file)).stdout).toMatch(new RegExp(`\\b${Number(last?.seq) + 1}\\b`))
})
