import { createHash, createPrivateKey, randomBytes, sign, X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { encode } from 'cborg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { akCertificate, akIssuerCertificate } from '../../src/registrar/ak-certificate.ts'
import { masterKey } from '../../src/registrar-keys/master-key.ts'
import { sealedKeys } from '../../src/registrar-keys/sealed-keys.ts'
import { Secret } from '../../src/secret.ts'
import { newSoftwareSeeds, type SoftwareKey, spkiOfSoftwareKey } from '../harness/software-tpm.ts'
import { type LineProcess, startLineProcess } from './line-process.ts'
import {
  MISSING,
  NODE_VERIFIERS,
  VERIFIER_MODULES,
  type VerifierAnswer,
} from './verifiable-tokens.ts'

/**
 * AK certificates as SimpleWebAuthn judges them, in an attestation of the format `tpm` (WebAuthn Level 3, 8.3). What is
 * attested in it is made here, as the keys of the agent are none of a browser; the certificate is the registrar's.
 */

const ORIGIN = 'https://login.example'
const CHALLENGE = Buffer.alloc(32, 7).toString('base64url')
const HOUR_MS = 3_600_000
const NOW_MS = Date.now()
const VALID = { notBefore: new Date(NOW_MS - HOUR_MS), notAfter: new Date(NOW_MS + HOUR_MS) }
const OVER = { notBefore: new Date(NOW_MS - 2 * HOUR_MS), notAfter: new Date(NOW_MS - HOUR_MS) }
/** The attributes of a TPM of STMicroelectronics; and one of swtpm, whose maker the library does not know. */
const tpmOf = (manufacturer: string) =>
  [
    ['2.23.133.2.1', manufacturer],
    ['2.23.133.2.2', 'ST33'],
    ['2.23.133.2.3', 'id:00010102'],
  ] as const
const KNOWN = tpmOf('id:53544D20')

const sha256 = (...parts: readonly Buffer[]) =>
  createHash('sha256').update(Buffer.concat(parts)).digest()
const sized = (bytes: Buffer) => Buffer.concat([Buffer.from([0, bytes.length]), bytes])
const hex = (text: string) => Buffer.from(text, 'hex')
const base64url = (text: string) => Buffer.from(text, 'base64url')

const ak = newSoftwareSeeds().ak
const store = sealedKeys(masterKey(new Secret(randomBytes(32))))
const authority = await issuer()
let node: LineProcess<VerifierAnswer>
beforeAll(() => {
  node = startLineProcess([process.execPath, NODE_VERIFIERS, VERIFIER_MODULES])
})
afterAll(() => node.end())
beforeEach((context) => {
  if (!existsSync(VERIFIER_MODULES)) context.skip(MISSING)
})

async function issuer() {
  const { key } = await store.make('ES256', 'ak-authority')
  const names = { name: 'fleet', url: 'https://registrar.example' }
  return { key, certificate: await akIssuerCertificate(key, names, VALID) }
}

/** TPMT_PUBLIC of a key of P-256 without a scheme, which is all that the library reads of ECC. */
const publicArea = ({ x, y }: SoftwareKey) =>
  Buffer.concat([
    hex('0023000b000400720000'),
    hex('0010001000030010'),
    sized(base64url(x)),
    sized(base64url(y)),
  ])

/** TPMS_ATTEST of TPM2_Certify. */
const attestOf = (area: Buffer, extraData: Buffer) =>
  Buffer.concat([
    hex('ff5443478017'),
    sized(Buffer.alloc(34)),
    sized(extraData),
    Buffer.alloc(17 + 8),
    sized(Buffer.concat([hex('000b'), sha256(area)])),
    sized(Buffer.alloc(34)),
  ])

/** What a browser sends of a new key that an AK certified. */
function registration(certificates: readonly Buffer[], signer: SoftwareKey) {
  const key = newSoftwareSeeds().sk
  const id = Buffer.alloc(16, 1)
  const cose = encode(
    new Map<number, number | Buffer>([
      ...([
        [1, 2],
        [3, -7],
        [-1, 1],
      ] as const),
      ...([
        [-2, base64url(key.x)],
        [-3, base64url(key.y)],
      ] as const),
    ]),
  )
  const authData = Buffer.concat([
    sha256(Buffer.from(new URL(ORIGIN).hostname)),
    // UP, UV and AT; a counter; no AAGUID.
    hex('4500000000'),
    Buffer.alloc(16),
    sized(id),
    cose,
  ])
  const client = Buffer.from(
    JSON.stringify({ type: 'webauthn.create', challenge: CHALLENGE, origin: ORIGIN }),
  )
  const pubArea = publicArea(key)
  const certInfo = attestOf(pubArea, sha256(authData, sha256(client)))
  const privateKey = createPrivateKey({
    key: { kty: 'EC', crv: 'P-256', ...signer },
    format: 'jwk',
  })
  const sig = sign('sha256', certInfo, privateKey)
  const attStmt = { ver: '2.0', alg: -7, x5c: certificates, sig, certInfo, pubArea }
  const attestationObject = Buffer.from(encode({ fmt: 'tpm', attStmt, authData }))
  return {
    ...{ id: id.toString('base64url'), rawId: id.toString('base64url'), type: 'public-key' },
    response: {
      clientDataJSON: client.toString('base64url'),
      attestationObject: attestationObject.toString('base64url'),
    },
    clientExtensionResults: {},
  }
}

interface Case {
  readonly tpm?: ReturnType<typeof tpmOf>
  readonly validity?: typeof VALID
  readonly by?: typeof authority
  readonly signer?: SoftwareKey
}

async function verdict({ tpm, validity = VALID, by = authority, signer = ak }: Case) {
  const spki = spkiOfSoftwareKey(ak).toString('base64')
  const leaf = await akCertificate(by, { spki, tpm, instance: 'aliyun:i-one' }, validity)
  const root = new X509Certificate(authority.certificate).toString()
  return node.ask({
    ...{ who: '@simplewebauthn/server', root, challenge: CHALLENGE, origin: ORIGIN },
    response: registration([leaf], signer),
  })
}

test('takes an AK certificate of a TPM that its maker vouches for', async () => {
  expect(await verdict({ tpm: KNOWN })).toEqual({ claims: { format: 'tpm' } })
})

test.each<[string, Case, RegExp]>([
  ['that is over', { tpm: KNOWN, validity: OVER }, /not good after/],
  ['of another authority', { tpm: KNOWN, by: await issuer() }, /could not be chained/],
  ['of another key', { tpm: KNOWN, signer: newSoftwareSeeds().ak }, /not verified/],
  ['of a maker that it does not know', { tpm: tpmOf('id:00001014') }, /manufacturer/],
  ['of a TPM that nobody vouches for', {}, /subject was not empty/],
])('refuses one %s', async (_which, given, says) => {
  expect(await verdict(given)).toEqual({ refused: expect.stringMatching(says) })
})
