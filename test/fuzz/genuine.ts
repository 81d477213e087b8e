import genuine from './genuine.json' with { type: 'json' }

/**
 * Genuine things to begin from, kept as they were made once with a TPM and an authority of the tests: an
 * altered one may never be accepted. The same bytes at every run, so that what was found is found again.
 * test/fuzz/genuine.test.ts makes them.
 */
export interface Genuine {
  /** A document of evidence, as text. */
  readonly evidence: string
  readonly nonceHex: string
  /** DER in base64. */
  readonly ekAnchor: string
  readonly ekCertificate: string
  /** PEM. */
  readonly identityCertificate: string
  /** DER in base64. */
  readonly pkcs7: string
  /** Texts as their files have them. */
  readonly challenge: string
  readonly answer: string
  readonly kept: string
  readonly identityToken: string
  readonly identityKey: {
    readonly kty: 'EC'
    readonly crv: 'P-256'
    readonly x: string
    readonly y: string
  }
  readonly audit: {
    readonly lines: readonly string[]
    readonly keySpki: string
    readonly head: string
  }
}

/** The time at which they hold. */
export const GENUINE_NOW = new Date('2026-11-23T12:00:00Z')

/** The file, with its key as a verifier wants it. */
export function readGenuine(): Genuine {
  const { kty, crv, ...point } = genuine.identityKey
  if (kty !== 'EC' || crv !== 'P-256') throw new Error('genuine.json: no P-256 key')
  return { ...genuine, identityKey: { kty, crv, ...point } }
}
