/**
 * An instance is cloned with its TPM's NV memory: the clone has certificates, of a maker that the agent trusts and for the
 * key that its TPM has, which name the instance that was cloned.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { anew, ownAgent, whileServed, whyItWaits } from '../harness/attack.ts'
import { makeAuthority, makeEkCertificate } from '../harness/certificate.ts'
import { ekSpki } from '../harness/keys.ts'
import { EK_CERTIFICATE_NV, writeNv } from '../harness/nv.ts'

test('certificates of another instance are refused', async (context) => {
  const packaged = await ownAgent(context)
  const { instance, directory } = packaged
  const maker = makeAuthority('The cloud’s TPMs')
  const anchors = join(directory, 'trusted')
  await mkdir(anchors)
  await writeFile(join(anchors, 'maker.der'), maker.der)
  const key = await ekSpki(instance.tpm.tcti)
  const startedAs = async (subject: string) => {
    await writeNv(instance.tpm, EK_CERTIFICATE_NV, makeEkCertificate(maker, key, { subject }))
    return anew(packaged, `[tpm]\nek_certificate = "require"\nek_anchors = "${anchors}"\n`)
  }
  const clone = await startedAs('i-bp1cloned00000000001')
  expect(await whyItWaits(clone)).toBe('VERIFY_EK_INSTANCE')
  expect(clone.records.some(({ msg }) => msg === 'ready')).toBe(false)
  await clone.stop()
  const original = await startedAs(instance.cloud?.instanceId ?? '')
  await original.ready()
  await whileServed(instance.metadataSocket, async () => undefined)
})
