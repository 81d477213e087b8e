/**
 * Somebody with the machine's files keeps the TPM's state, lets the instance run on, and puts the state back; later it has
 * the TPM cleared. A token of before is shown each time.
 */
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { APP, anew, CREDENTIALS_PATH, ownAgent, whileServed } from '../harness/attack.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'

const isFile = (path: string) => !/\/s(?:\.ctrl)?$/.test(path)

test('the agent finds out by counters and names, and takes no token of before', async (context) => {
  const packaged = await ownAgent(context)
  const { instance, directory } = packaged
  const { metadataSocket, tpm } = instance
  const changeFound = async () => {
    const agent = await anew(packaged)
    await agent.ready()
    return agent.records.filter(({ msg }) => msg === 'instance.changed').map(({ detail }) => detail)
  }
  const expectRefused = async (token: string) => {
    const read = () => readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH, token)
    expect(await whileServed(metadataSocket, read)).toMatchObject({ status: 401 })
  }
  await instance.agent.stop()
  await tpm.kill()
  await cp(join(directory, 'tpm'), join(directory, 'kept'), { recursive: true, filter: isFile })
  await tpm.start()
  for (let resets = 0; resets < 2; resets += 1) {
    await tpm.reset()
    await tpm2(tpm, 'getrandom', '--hex', '1')
  }
  await instance.restartAgent()
  const { body: token } = await tokenAs({ uid: APP }, metadataSocket)
  await instance.agent.stop()
  await tpm.kill()
  await cp(join(directory, 'kept'), join(directory, 'tpm'), { recursive: true })
  await tpm.start()
  expect(await changeFound()).toEqual(['counters-back'])
  await expectRefused(token)
})
