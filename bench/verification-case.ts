import { parseCertificate } from '../src/certificates/certificate.ts'
import { decodeEvidence, encodeEvidence } from '../src/format/evidence.ts'
import { GENUINE_NOW, readGenuine } from '../test/fuzz/genuine.ts'
import { makeAuthority, makeEkCertificate, newRsaKey } from '../test/harness/certificate.ts'
import type { VerificationCase } from './verifications.ts'

/** Genuine evidence whose EK certificate stands under an authority and a root of RSA, as makers have them. */
export function verificationCase(): VerificationCase {
  const genuine = readGenuine()
  const evidence = decodeEvidence(Buffer.from(genuine.evidence))
  const { publicKey } = parseCertificate(Buffer.from(genuine.ekCertificate, 'base64'))
  const root = makeAuthority('Maker Root', {}, undefined, newRsaKey(4096))
  const between = makeAuthority('Maker Between', {}, root, newRsaKey())
  const leaf = makeEkCertificate(between, publicKey)
  const ek = { ...evidence.ek, certificates: [leaf, between.der] }
  return {
    evidence: Buffer.from(encodeEvidence({ ...evidence, ek })).toString('base64'),
    nonce: Buffer.from(genuine.nonceHex, 'hex').toString('base64'),
    now: GENUINE_NOW.toISOString(),
    ekAnchor: root.der.toString('base64'),
    identityCertificate: Buffer.from(genuine.identityCertificate).toString('base64'),
  }
}
