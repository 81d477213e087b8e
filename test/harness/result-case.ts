import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { signResult, type Verified, verifyEvidence } from '../../src/verify/index.ts'
import { keptResultCase } from './kept-case.ts'
import { bytesOf, INSTANCE_ID, NOW, type VerifyCase } from './verify-case.ts'

/** What is verified, whole and provisional, and what a result is asked against. */
export interface ResultCase {
  readonly verified: Verified
  readonly provisional: Verified
  readonly nonce: Buffer
}

export const VERIFIER = { developer: 'https://verifier.example', build: 'verifier 1' }

/** @param it genuine evidence. That its AK is in the TPM is said here; activation.test.ts shows it. */
export function resultCase(it: VerifyCase): ResultCase {
  return keptResultCase(() => makeResultCase(it))
}

function makeResultCase({ evidence, options, nonce }: VerifyCase): ResultCase {
  const provisional = verifyEvidence(bytesOf(evidence), options)
  const [ekName, akName] = [provisional.ek.name, provisional.ak.name]
  const activation = { ekName: Buffer.from(ekName, 'hex'), akName: Buffer.from(akName, 'hex') }
  const verified = verifyEvidence(bytesOf(evidence), { ...options, activation })
  return { verified, provisional, nonce }
}

export interface KeyPair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

/** A pair of keys of each algorithm, by the name that JOSE has for it. */
export const KEY_PAIRS: Readonly<Record<string, () => KeyPair>> = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ES512: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: () => generateKeyPairSync('ed25519'),
  'ML-DSA-65': () => generateKeyPairSync('ml-dsa-65'),
}

export const publicPem = (key: KeyObject) => String(key.export({ type: 'spki', format: 'pem' }))
export const privatePem = (key: KeyObject) => String(key.export({ type: 'pkcs8', format: 'pem' }))

/** A result of what is given, signed now. */
export function resultOf(
  verified: Verified,
  nonce: Buffer,
  key: KeyObject | string,
  more: Partial<Parameters<typeof signResult>[1]> = {},
): Buffer {
  return signResult(verified, { key, nonce, now: NOW, verifier: VERIFIER, ...more })
}

/** What a result of that is asked against by who knows the instance. */
export const demandsOf = (nonce: Buffer, ...keys: readonly (KeyObject | string)[]) => ({
  keys,
  nonce,
  now: NOW,
  expectedInstanceId: INSTANCE_ID,
})
