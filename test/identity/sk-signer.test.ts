import { verify } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { MetabindError } from '../../src/errors.ts'
import { keyObjectOf, leftPad } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { parseSignature } from '../../src/format/tpm-signature.ts'
import { WAITING_PER_USER_MAX } from '../../src/identity/signing-queue.ts'
import { type SkSigner, skSigner } from '../../src/identity/sk-signer.ts'
import { createInstanceKeys, type InstanceTpm, instanceTpm } from '../../src/identity/tpm.ts'

/** The queue in front of SK, on a real TPM. */

let swtpm: Swtpm
let tpm: InstanceTpm
let signer: SkSigner
let isSigned: (text: string, signature: Buffer) => boolean
beforeEach(async () => {
  swtpm = await startSwtpm()
  tpm = instanceTpm(swtpm.tcti, 10_000)
  const keys = await createInstanceKeys(tpm)
  signer = skSigner(tpm, keys)
  const key = keyObjectOf(parsePublic(keys.sk.publicArea))
  isSigned = (text, signature) => {
    const parsed = parseSignature(signature)
    if (!('r' in parsed)) return false
    const halves = Buffer.concat([leftPad(parsed.r, 32), leftPad(parsed.s, 32)])
    return verify('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }, halves)
  }
})
afterEach(async () => {
  await tpm.close()
  await swtpm.stop()
})

test('each text has its own signature, in whatever order they come', async () => {
  const texts = Array.from({ length: 20 }, (_, at) => `text ${at}`)
  const signatures = await Promise.all(texts.map((text) => signer.sign(text)))
  texts.forEach((text, at) => {
    expect(isSigned(text, signatures[at] ?? Buffer.of())).toBe(true)
  })
  expect(isSigned('another', signatures[0] ?? Buffer.of())).toBe(false)
})

test('no more than the bound of one user wait; those beyond are refused at once, and nobody else', async () => {
  // The first is under way and waits no more.
  const taken = Array.from({ length: WAITING_PER_USER_MAX + 1 }, () => signer.sign('text', 1001))
  expect(() => signer.sign('text', 1001)).toThrow(new MetabindError('LIMIT_SIGNATURES'))
  taken.push(signer.sign('text', 1002), signer.sign('text'))
  for (const signature of await Promise.all(taken)) expect(isSigned('text', signature)).toBe(true)
  expect(isSigned('text', await signer.sign('text'))).toBe(true)
})

test('a TPM that fails fails those who wait, and no later ones', async () => {
  await swtpm.kill()
  const failed = await Promise.allSettled([signer.sign('one'), signer.sign('two')])
  expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  await swtpm.start()
  expect(isSigned('three', await signer.sign('three'))).toBe(true)
})

test('another TPM signs nothing', async () => {
  const other = await startSwtpm()
  try {
    const keys = await createInstanceKeys(tpm)
    const otherTpm = instanceTpm(other.tcti, 10_000)
    try {
      await expect(skSigner(otherTpm, keys).sign('text')).rejects.toMatchObject({
        code: 'TPM_OTHER',
      })
    } finally {
      await otherTpm.close()
    }
  } finally {
    await other.stop()
  }
})
