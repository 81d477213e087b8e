/**
 * A program with access to the TPM extends a PCR whenever the agent has read the PCRs and is about to quote them: twice, so
 * that evidence might show other values than were quoted, and then always.
 */
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { metabindAs, ownAgent, whileServed } from '../harness/attack.ts'
import { startExtendingProxy } from '../harness/extending-proxy.ts'

const NONCE = 'ab'.repeat(32)

test('what is shown is what was quoted, or there is no evidence', async (context) => {
  const tpm = await startSwtpm()
  onTestFinished(() => tpm.stop())
  const bus = await startExtendingProxy(tpm)
  onTestFinished(() => bus[Symbol.asyncDispose]())
  await chmod(tpm.dir, 0o755)
  for (const name of ['x', 'x.ctrl']) await chmod(join(tpm.dir, name), 0o770)
  const { instance } = await ownAgent(context, { config: `tpm.tcti = "${bus.tcti}"\n` })
  const evidence = () => metabindAs(0, ['evidence', '--nonce', NONCE], instance)
  await whileServed(instance.metadataSocket, async () => {
    bus.extendBeforeQuotes(10, 2)
    const { code, stdout } = await evidence()
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ nonce: NONCE })
    bus.extendBeforeQuotes(10, Number.POSITIVE_INFINITY)
    const refused = await evidence()
    expect([refused.code, refused.stdout]).toEqual([1, ''])
    expect(refused.stderr).toContain('TPM_PCRS_MOVE')
  })
})
