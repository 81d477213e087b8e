/**
 * The owner of the TPM's storage puts a key of its own at the persistent handles where makers leave the endorsement and
 * storage keys, for the agent to use at its next start.
 */
import { expect, test } from 'vitest'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { APP, anew, CREDENTIALS_PATH, ownAgent, whileServed } from '../harness/attack.ts'
import { agentStatus } from '../harness/metabind.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'

const HANDLES = ['0x81010001', '0x81010002', '0x81010016', '0x81000001', '0x81000002', '0x81000003']

test('keys at persistent handles are not used', async (context) => {
  const packaged = await ownAgent(context)
  const { metadataSocket, tpm } = packaged.instance
  const { body: token } = await tokenAs({ uid: APP }, metadataSocket)
  const before = await agentStatus(packaged.instance)
  await tpm2(tpm, 'createprimary', '-C', 'o', '-G', 'ecc', '-c', 'foreign.ctx')
  for (const handle of HANDLES) {
    await tpm2(tpm, 'flushcontext', '-t')
    await tpm2(tpm, 'evictcontrol', '-C', 'o', '-c', 'foreign.ctx', handle).catch((error) => {
      // The endorsement hierarchy's are the platform's to give.
      if (!/0x8101/.test(handle)) throw error
    })
  }
  await tpm2(tpm, 'flushcontext', '-t')
  await anew(packaged).then((agent) => agent.ready())
  expect((await agentStatus(packaged.instance)).identity).toEqual(before.identity)
  const read = () => readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH, token)
  expect(await whileServed(metadataSocket, read)).toMatchObject({ status: 200 })
})
