import { generateKeyPairSync, sign } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { CHAIN_ORIGIN, checkpointMessage, encodeBody, encodeLine } from '../../src/audit/chain.ts'
import { encodeAnswer, encodeChallenge, encodeKeptSecret } from '../../src/format/activation.ts'
import { identityTokenInput } from '../../src/format/identity-token.ts'
import { makeChallenge, verifyEvidence, verifyIdentityToken } from '../../src/verify/index.ts'
import { bytesOf, genuineCaseOfFile, INSTANCE_ID, NOW } from '../harness/verify-case.ts'
import { GENUINE_NOW, type Genuine, readGenuine } from './genuine.ts'

const PATH = new URL('genuine.json', import.meta.url)

/** `WRITE_GENUINE=yes ./dev test test/fuzz/genuine` makes the file anew, and corpora are worth less then. */

test('what is kept as genuine is accepted', async () => {
  if (process.env.WRITE_GENUINE === 'yes') {
    writeFileSync(PATH, `${JSON.stringify(await make(), null, 2)}\n`)
    return
  }
  const genuine = readGenuine()
  expect(GENUINE_NOW).toEqual(NOW)
  const verified = verifyEvidence(Buffer.from(genuine.evidence), {
    nonce: Buffer.from(genuine.nonceHex, 'hex'),
    now: NOW,
    trust: {
      ekAnchors: [Buffer.from(genuine.ekAnchor, 'base64')],
      identityCertificate: Buffer.from(genuine.identityCertificate),
    },
    demandDocument: true,
    allowProvisional: true,
  })
  expect(verified.instanceId).toBe(INSTANCE_ID)
  const expected = { sk: genuine.identityKey, audience: 'fuzz', instanceId: INSTANCE_ID, iid: 'ab' }
  const claims = verifyIdentityToken(genuine.identityToken, { ...expected, now: NOW })
  expect(claims.jti).toBe('1')
})

async function make(): Promise<Genuine> {
  const { evidence, options, authority, signer } = await genuineCaseOfFile()
  const { challenge, kept } = makeChallenge(bytesOf(evidence), options)
  const { id, secret } = kept
  const [ekCertificate = Buffer.alloc(0)] = evidence.ek.certificates
  return {
    evidence: bytesOf(evidence).toString(),
    nonceHex: evidence.nonce.toString('hex'),
    ekAnchor: authority.der.toString('base64'),
    ekCertificate: ekCertificate.toString('base64'),
    identityCertificate: signer.certificatePem,
    pkcs7: evidence.identityDocument?.pkcs7.toString('base64') ?? '',
    challenge: encodeChallenge(challenge),
    answer: encodeAnswer({ format: 'metabind answer', version: 1, id, secret }),
    kept: encodeKeptSecret(kept),
    ...identity(),
    audit: audit(),
  }
}

function identity(): Pick<Genuine, 'identityToken' | 'identityKey'> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const iat = NOW.getTime() / 1000
  const claims = {
    iss: 'metabind',
    sub: INSTANCE_ID,
    aud: 'fuzz',
    iat,
    exp: iat + 600,
    jti: '1',
    iid: 'ab',
  }
  const input = identityTokenInput(claims)
  const signature = sign('sha256', Buffer.from(input), {
    key: privateKey,
    dsaEncoding: 'ieee-p1363',
  })
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  return {
    identityToken: `${input}.${signature.toString('base64url')}`,
    identityKey: { kty: 'EC', crv: 'P-256', x, y },
  }
}

/** Two records signed by a checkpoint, a gap, and two that are not signed. */
function audit(): Genuine['audit'] {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  const lines: string[] = []
  let head = CHAIN_ORIGIN
  const append = (
    record: { readonly event: string } & Readonly<Record<string, unknown>>,
    lost = 0,
  ) => {
    const line = encodeLine(head.hash, head.seq + 1 + lost, encodeBody(record))
    lines.push(line.text)
    head = line.head
  }
  append({ event: 'chain.start' })
  append({ event: 'token.issued', uid: 1000 })
  const signature = sign('sha256', checkpointMessage(head), {
    key: privateKey,
    dsaEncoding: 'ieee-p1363',
  })
  append({
    event: 'chain.checkpoint',
    checkpoint: { of: head, key, signature: signature.toString('base64') },
  })
  append({ event: 'chain.gap', lost: 2 }, 2)
  append({ event: 'token.issued', uid: 1001, path: '/latest/meta-data/' })
  return { lines, keySpki: key, head: head.hash }
}
