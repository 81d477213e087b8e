/**
 * Somebody with the platform's right to the TPM's NV memory copies the endorsement certificate of another, genuine TPM
 * there, so that this one passes for it.
 */
import { expect, onTestFinished, test } from 'vitest'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { anew, metabindAs, ownAgent, whileServed, whyItWaits } from '../harness/attack.ts'
import { makeAuthority, makeEkCertificate } from '../harness/certificate.ts'
import { ekSpki } from '../harness/keys.ts'
import { EK_CERTIFICATE_NV, writeNv } from '../harness/nv.ts'

test('the agent is not ready for as long as the certificate is there', async (context) => {
  const genuine = await startSwtpm()
  onTestFinished(() => genuine.stop())
  const certificate = makeEkCertificate(makeAuthority('Maker'), await ekSpki(genuine.tcti))
  const packaged = await ownAgent(context)
  const { instance } = packaged
  await writeNv(instance.tpm, EK_CERTIFICATE_NV, certificate)
  const agent = await anew(packaged)
  expect(await whyItWaits(agent)).toBe('VERIFY_CERTIFICATE_KEY')
  const evidence = await metabindAs(0, ['evidence', '--nonce', 'ab'.repeat(32)], instance)
  expect([evidence.code, evidence.stdout]).toEqual([1, ''])
  expect(evidence.stderr).toContain('AGENT_NOT_READY')
  await tpm2(instance.tpm, 'nvundefine', '-C', 'p', `0x${EK_CERTIFICATE_NV.toString(16)}`)
  await agent.ready()
  await whileServed(instance.metadataSocket, async () => undefined)
})
