/**
 * A thief clones an instance's disk and its runtime directory with the salt, starts the clone on a machine with another
 * TPM, has the metadata service call it by the same instance id, and shows it a token of the original.
 */
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { APP, CREDENTIALS_PATH, ownAgent, whileServed } from '../harness/attack.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'

test('everything but the TPM is not enough', async (context) => {
  const { instance: original, directory } = await ownAgent(context)
  const { body: token } = await tokenAs({ uid: APP }, original.metadataSocket)
  const instanceId = original.cloud?.instanceId
  const clone = await ownAgent(context, {
    instanceId,
    prepare: async (to) => {
      for (const name of ['state', 'run']) {
        await cp(join(directory, name), join(to, name), { recursive: true })
      }
    },
  })
  const { metadataSocket, agent } = clone.instance
  expect(agent.records.filter(({ msg }) => msg === 'instance.changed')).toHaveLength(1)
  const read = (socket: string) => readAs({ uid: APP }, socket, CREDENTIALS_PATH, token)
  expect(await whileServed(metadataSocket, () => read(metadataSocket))).toMatchObject({
    status: 401,
  })
  expect(await read(original.metadataSocket)).toMatchObject({ status: 200 })
})
