/**
 * Somebody sits on the bus between processor and TPM from the start on and records every byte, to have what token keys are
 * derived from. The salt has been stolen as well.
 */
import { chmod, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startProxy } from '../../native/tpm2-js/test/proxy.ts'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { APP, CREDENTIALS_PATH, ownAgent, whileServed } from '../harness/attack.ts'
import { forgeToken } from '../harness/forged-token.ts'
import { readAs } from '../harness/unix-http.ts'

test('key material does not pass in clear', async (context) => {
  const tpm = await startSwtpm()
  onTestFinished(() => tpm.stop())
  const bus = await startProxy(tpm)
  onTestFinished(() => bus.close())
  await openToAgent(tpm.dir)
  const { instance } = await ownAgent(context, { config: `tpm.tcti = "${bus.tcti}"\n` })
  const { metadataSocket, runtimeDirectory, cloud } = instance
  const recorded = await whileServed(metadataSocket, async () => bus.captured())
  const salt = await readFile(join(runtimeDirectory, 'salt'))
  const { token, roots } = await forgeToken(tpm.tcti, cloud?.instanceId ?? '', salt, APP)
  // These are what it looks for: a token that is made of them is good.
  const read = await readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH, token)
  expect(read.status).toBe(200)
  expect(recorded.length).toBeGreaterThan(1000)
  expect(roots.length).toBeGreaterThanOrEqual(4)
  for (const root of roots) expect(recorded.includes(root)).toBe(false)
})

/** As the device is, and its group's alone. */
async function openToAgent(directory: string): Promise<void> {
  await chmod(directory, 0o755)
  for (const name of ['p', 'p.ctrl']) await chmod(join(directory, name), 0o770)
}
