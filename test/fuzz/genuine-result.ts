import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import { type ResultFormat, signResult, verifyEvidence } from '../../src/verify/index.ts'
import { GENUINE_NOW, readGenuine } from './genuine.ts'

/** A genuine result of the genuine evidence. Ed25519 makes the same signature each time. */

// PrivateKeyInfo of Ed25519 (RFC 8410, 7), with 32 bytes of no secret.
const KEY = createPrivateKey({
  key: Buffer.concat([
    Buffer.from('302e020100300506032b657004220420', 'hex'),
    createHash('sha256').update('fuzz').digest(),
  ]),
  format: 'der',
  type: 'pkcs8',
})
const { evidence, nonceHex, ekAnchor, identityCertificate } = readGenuine()
const NONCE = Buffer.from(nonceHex, 'hex')

/** What the result holds against. */
export const RESULT_DEMANDS = {
  keys: [createPublicKey(KEY)],
  nonce: NONCE,
  now: GENUINE_NOW,
  allowProvisional: true,
}

export function genuineResult(format: ResultFormat): Buffer {
  const verified = verifyEvidence(Buffer.from(evidence), {
    nonce: NONCE,
    now: GENUINE_NOW,
    trust: {
      ekAnchors: [Buffer.from(ekAnchor, 'base64')],
      identityCertificate: Buffer.from(identityCertificate),
    },
    allowProvisional: true,
  })
  const verifier = { developer: 'https://verifier.example', build: 'fuzz' }
  return signResult(verified, { key: KEY, format, nonce: NONCE, now: GENUINE_NOW, verifier })
}
