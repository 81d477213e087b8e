/**
 * A user keeps a token over a reboot: the TPM is reset and the runtime directory lost. Another one even had a copy of the
 * salt made, and puts it back before the agent starts.
 */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { APP, CREDENTIALS_PATH, ownAgent, whileServed } from '../harness/attack.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'

test('a token ends with its boot, with the salt of before and without it', async (context) => {
  const { instance, directory } = await ownAgent(context)
  const { metadataSocket, runtimeDirectory, tpm } = instance
  const kept = join(directory, 'kept')
  const token = (await tokenAs({ uid: APP }, metadataSocket)).body
  execFileSync('cp', ['-a', runtimeDirectory, kept])
  const read = () => readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH, token)

  // A reset alone, with everything in its place.
  await instance.agent.stop()
  await tpm.reset()
  await instance.restartAgent()
  expect(await read()).toMatchObject({ status: 401 })

  await instance.agent.stop()
  execFileSync('sh', ['-ec', 'rm -r "$0"/*', runtimeDirectory])
  await tpm.reset()
  await instance.restartAgent()
  expect(await read()).toMatchObject({ status: 401 })

  await instance.agent.stop()
  execFileSync('sh', ['-ec', 'rm -r "$0"; cp -a "$1" "$0"', runtimeDirectory, kept])
  await instance.restartAgent()
  expect(await whileServed(metadataSocket, read)).toMatchObject({ status: 401 })
})
