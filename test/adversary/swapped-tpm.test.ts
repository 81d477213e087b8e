/**
 * Somebody puts another TPM in the place of the instance's while the agent runs, one that was made for the purpose, and
 * hopes for tokens of its own making.
 */
import { rename } from 'node:fs/promises'
import { expect, onTestFinished, test } from 'vitest'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { APP, CREDENTIALS_PATH, ownAgent } from '../harness/attack.ts'
import { askAs, readAs, tokenAs } from '../harness/unix-http.ts'

test('the agent stops: it neither makes nor takes tokens', async (context) => {
  const { instance } = await ownAgent(context, { config: 'tpm.recheck_seconds = 1\n' })
  const { metadataSocket, agent, tpm } = instance
  const { body: token } = await tokenAs({ uid: APP }, metadataSocket)
  const read = () => readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH, token)
  expect(await read()).toMatchObject({ status: 200 })
  const other = await startSwtpm()
  onTestFinished(() => other.stop())
  for (const end of ['', '.ctrl']) {
    await rename(`${tpm.socketPath}${end}`, `${tpm.socketPath}${end}.away`)
    await rename(`${other.socketPath}${end}`, `${tpm.socketPath}${end}`)
  }
  await tpm.kill()
  await agent.until(({ msg, code }) => msg === 'agent.stopped' && code === 'TPM_OTHER')
  for (let round = 0; round < 20; round += 1) {
    expect(await read()).toMatchObject({ status: 503 })
    expect(await tokenAs({ uid: APP }, metadataSocket)).toMatchObject({ status: 503 })
    expect(await askAs({ uid: APP }, metadataSocket, [['GET', '/', {}]])).not.toMatchObject([
      { status: 200 },
    ])
  }
})
