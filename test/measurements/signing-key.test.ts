import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { hasSigned, signingKeyIn } from '../../src/measurements/signing-key.ts'
import { makeAuthority, newKey, rsaSpki, spkiOf } from '../harness/certificate.ts'

/** Keys of those who sign policies and PCR values, and what they signed. */

const pem = (label: string, der: Buffer) =>
  `-----BEGIN ${label}-----\n${der.toString('base64')}\n-----END ${label}-----\n`
const publicPem = (key: KeyObject) => pem('PUBLIC KEY', spkiOf(key))
const rsaPem = (bits: number, exponent = 3) =>
  pem('PUBLIC KEY', rsaSpki(Buffer.alloc(bits / 8, 0xff), Buffer.of(exponent)))

const P256 = newKey()
const ED25519 = generateKeyPairSync('ed25519').privateKey
const PRIVATE = P256.export({ type: 'pkcs8', format: 'pem' }).toString()

describe('a key signs by', () => {
  test.each([
    ['SHA-256, of P-256', publicPem(P256), 'sha256'],
    ['SHA-384, of P-384', publicPem(newKey('P-384')), 'sha384'],
    ['SHA-512, of P-521', publicPem(newKey('P-521')), 'sha512'],
    ['SHA-256, of RSA', rsaPem(2048), 'sha256'],
    ['SHA-256, of the longest RSA', rsaPem(8192), 'sha256'],
    ['a hash of its own, of Ed25519', publicPem(ED25519), undefined],
    ['the same with text around it', `of a vendor\n${publicPem(P256)}# end\n`, 'sha256'],
  ])('%s', (_, text, hash) => {
    for (const file of [text, Buffer.from(text), Uint8Array.from(Buffer.from(text))]) {
      expect(signingKeyIn(file)?.hash).toBe(hash)
      expect(signingKeyIn(file)?.key.type).toBe('public')
    }
  })
})

describe('no key that may sign', () => {
  test.each([
    ['nothing', ''],
    ['a private key, although its public half is in it', PRIVATE],
    ['a private key behind a public one', publicPem(P256) + PRIVATE],
    ['a private key before a public one', PRIVATE + publicPem(P256)],
    ['a certificate', pem('CERTIFICATE', makeAuthority('CA').der)],
    ['a key in DER', spkiOf(P256).toString('latin1')],
    ['PEM of what is no key', pem('PUBLIC KEY', Buffer.from('key'))],
    ['the beginning of one', '-----BEGIN PUBLIC KEY-----'],
    ['one of a curve that TPMs of the PC Client profile have not', publicPem(newKey('secp256k1'))],
    ['one of RSA that is too short', rsaPem(1024)],
    ['one of RSA that would take long to verify by', rsaPem(8200)],
    ['one of RSA by which anything is signed', rsaPem(2048, 1)],
    ['one that agrees on keys', publicPem(generateKeyPairSync('x25519').privateKey)],
  ])('%s', (_, text) => {
    expect(signingKeyIn(text)).toBeUndefined()
    expect(signingKeyIn(Buffer.from(text, 'latin1'))).toBeUndefined()
  })
})

describe('what a key signed', () => {
  const BYTES = Buffer.from('policy')
  const OTHER = Buffer.from('Policy')
  const KEYS = {
    'P-256': { key: P256, hash: 'sha256' },
    Ed25519: { key: ED25519, hash: undefined },
  } as const

  test.each(Object.entries(KEYS))('is these bytes alone: %s', (_, by) => {
    const signature = sign(by.hash, BYTES, by.key)
    expect(hasSigned(by, BYTES, signature)).toBe(true)
    expect(hasSigned(by, OTHER, signature)).toBe(false)
  })

  test('is nothing by another hash', () => {
    expect(hasSigned(KEYS['P-256'], BYTES, sign('sha384', BYTES, P256))).toBe(false)
  })

  // For a hash that is named beside it OpenSSL throws: Ed25519 has its own.
  test.each(['sha256', 'sha384'] as const)('is nothing where Ed25519 should hash by %s', (hash) => {
    const signature = sign(undefined, BYTES, ED25519)
    expect(hasSigned({ key: ED25519, hash }, BYTES, signature)).toBe(false)
  })

  test.each([
    ['nothing', ''],
    ['zeros', '00'.repeat(64)],
    ['two zeros in DER', '3006020100020100'],
    ['DER that is cut', '3044'],
    ['more than any signature', 'ff'.repeat(4000)],
  ])('is not shown by %s', (_, hex) => {
    for (const by of Object.values(KEYS)) {
      expect(hasSigned(by, BYTES, Buffer.from(hex, 'hex'))).toBe(false)
    }
  })
})
