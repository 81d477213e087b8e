import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { verifyEvidence } from '../../src/verify/index.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { scratch } from '../harness/metabind.ts'
import { enrol, evidenceOf } from './enrolling.ts'
import { startRegistrarProcess, trustOf } from './registrar-process.ts'

/** What a registrar certified of an instance, shown to a verifier that knows the registrar alone. */

const stack = new AsyncDisposableStack()
let directory: string
let instance: Instance
beforeAll(async () => {
  directory = stack.use(await scratch()).path
  instance = await startInstance(join(directory, 'one'), { certified: true })
  stack.defer(() => instance.stop())
})
afterAll(() => stack.disposeAsync())

const NONCE = 'ab'.repeat(32)
const repliedSchema = z.looseObject({
  state: z.string(),
  expiresAtMs: z.number(),
  akCertificates: z.array(z.base64()).optional(),
})

test('an AK certificate is an anchor for who trusts the registrar, and each enrolment has a new one', async () => {
  const published = join(directory, 'public')
  const more = `${await trustOf(instance.directory)}[publish]\ndirectory = "${published}"\n`
  const registrar = await startRegistrarProcess(join(directory, 'registrar'), more)
  await using _ = { [Symbol.asyncDispose]: () => registrar.end() }
  const first = repliedSchema.parse((await enrol(instance, registrar)).body)
  const again = repliedSchema.parse((await enrol(instance, registrar, { generation: 1 })).body)
  expect(first.akCertificates).toHaveLength(2)
  expect(again.akCertificates?.[0]).not.toBe(first.akCertificates?.[0])

  const response = await fetch(`${registrar.origin}/ak/ca.pem`)
  expect(response.headers.get('content-type')).toBe('application/pem-certificate-chain')
  const pem = await response.text()
  expect(await readFile(join(published, 'ak/ca.pem'), 'utf8')).toBe(pem)

  const evidence = await evidenceOf(instance, NONCE)
  const shown = { ...(evidence.ak as object), certificates: again.akCertificates?.slice(0, 1) }
  const bytes = Buffer.from(JSON.stringify({ ...evidence, ak: shown }))
  const options = { nonce: Buffer.from(NONCE, 'hex'), now: new Date() }
  const akAnchors = [Buffer.from(pem)]
  const identityCertificate = await readFile(join(instance.directory, 'cloud.pem'))
  const trust = { akAnchors, identityCertificate }
  const verified = verifyEvidence(bytes, { ...options, trust })
  expect(verified).toMatchObject({ verified: true, anchor: { kind: 'ak-certificate' } })
  const later = { ...options, trust, now: new Date(again.expiresAtMs + 1000) }
  expect(() => verifyEvidence(bytes, later)).toThrow(
    expect.objectContaining({ code: expect.stringMatching(/^VERIFY_/) }),
  )
})

test('nothing is certified of a TPM that nothing vouches for, admitted or held', async () => {
  const identity = `[trust]\nidentity_certificate = "${join(instance.directory, 'cloud.pem')}"\n`
  for (const [unanchored, state] of [
    ['admit', 'active'],
    ['hold', 'held'],
  ] as const) {
    const more = `${identity}[admission]\nunanchored = "${unanchored}"\n`
    const registrar = await startRegistrarProcess(join(directory, unanchored), more)
    await using _ = { [Symbol.asyncDispose]: () => registrar.end() }
    const { body } = await enrol(instance, registrar)
    expect(body).toMatchObject({ state })
    expect(body).not.toHaveProperty('akCertificates')
  }
})
