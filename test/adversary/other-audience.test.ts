/**
 * A service gets an identity token of an instance, and shows it to another service, to be taken for the instance: as it is,
 * with the other audience written in, and with a header that says how it is to be checked.
 */
import { createPublicKey, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { verifyEvidence, verifyIdentityToken } from '../../src/verify/index.ts'
import { SERVICE_USER, whileServed } from '../harness/attack.ts'
import { newKey } from '../harness/certificate.ts'
import { readAs } from '../harness/unix-http.ts'
import { NONCE, startVerifier } from '../harness/verifier.ts'

const ROBBED = 'https://robbed.example'

test('a token is good for its audience alone', async () => {
  const { metadataSocket, directory } = inject('target')
  const { at } = await startVerifier()
  const anchors = ['issuercert.pem', 'swtpm-localca-rootca-cert.pem']
  const { sk, instanceId, iid } = verifyEvidence(await readFile(at('evidence')), {
    nonce: Buffer.from(NONCE, 'hex'),
    now: new Date(),
    allowProvisional: true,
    trust: {
      ekAnchors: await Promise.all(
        anchors.map((name) => readFile(join(directory, 'anchors', name))),
      ),
      identityCertificate: await readFile(join(directory, 'cloud.pem')),
    },
  })
  const path = '/metabind/v1/identity?audience=https%3A%2F%2Fthief.example'
  const got = await whileServed(metadataSocket, () =>
    readAs({ uid: SERVICE_USER }, metadataSocket, path),
  )
  expect(got.status).toBe(200)
  const expected = { sk: sk.jwk, instanceId, iid, now: new Date() }
  expect(
    verifyIdentityToken(got.body, { ...expected, audience: 'https://thief.example' }).iid,
  ).toBe(iid)

  const [header = '', payload = '', signature = ''] = got.body.split('.')
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { ...JSON.parse(Buffer.from(payload, 'base64url').toString()), aud: ROBBED }
  const own = newKey()
  const jwk = createPublicKey(own).export({ format: 'jwk' })
  const input = `${part({ alg: 'ES256', typ: 'JWT', jwk })}.${part(claims)}`
  const bySelf = sign('sha256', Buffer.from(input), { key: own, dsaEncoding: 'ieee-p1363' })
  const tries = [
    got.body,
    `${header}.${part(claims)}.${signature}`,
    `${part({ alg: 'none', typ: 'JWT' })}.${part(claims)}.`,
    `${input}.${bySelf.toString('base64url')}`,
    `${header}.${part({ ...claims, aud: ['https://thief.example', ROBBED] })}.${signature}`,
  ]
  for (const token of tries) {
    const verify = () => verifyIdentityToken(token, { ...expected, audience: ROBBED })
    expect(verify).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^VERIFY_TOKEN/) }),
    )
  }
})
