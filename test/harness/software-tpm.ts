import {
  createDecipheriv,
  createECDH,
  createHash,
  createHmac,
  createPrivateKey,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import { ALG } from '../../src/format/algorithms.ts'
import { ByteReader, sized } from '../../src/format/byte-reader.ts'
import { CERTIFIED_KEYS, type CertifiedKey } from '../../src/format/evidence.ts'
import {
  certifyQualifyingData,
  type Qualifier,
  quoteQualifyingData,
} from '../../src/format/evidence-nonce.ts'
import { ATTEST_TYPE, TPM_GENERATED } from '../../src/format/tpm-attest.ts'
import { kdfa, kdfe } from '../../src/format/tpm-kdf.ts'
import { nameOf, qualifiedNameOf } from '../../src/format/tpm-name.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { EK_TEMPLATES, PRIMARIES } from '../../src/format/tpm-templates.ts'

/**
 * What a TPM does for an enrolment, in software: thousands of them fit into one process. Its structures are those of
 * TPM 2.0 Part 2, its EK and keys those of the agent, and whoever looks at what it signs sees no difference; the
 * certificate of its EK decides whom it deceives.
 */

const SHA256 = { name: 'sha256', bytes: 32 } as const
const CURVE = 'prime256v1'
const COORDINATE_BYTES = 32
const CIPHER_BITS = 128

/** A key of P-256: its private number and its point, as base64url. */
export interface SoftwareKey {
  readonly d: string
  readonly x: string
  readonly y: string
}

/** What makes one TPM differ from another. It may be kept as JSON. */
export interface SoftwareSeeds {
  readonly ek: SoftwareKey
  readonly ak: SoftwareKey
  readonly sk: SoftwareKey
  /** `unique` of the roots of token keys, in hex. */
  readonly rk: string
  readonly bk: string
}

export interface SoftwareClock {
  clockMs: number
  resetCount: number
  restartCount: number
}

/** One TPM; its clock may be set. */
export interface SoftwareTpm {
  readonly ekPublic: Buffer
  readonly akPublic: Buffer
  readonly ekName: Buffer
  readonly akName: Buffer
  readonly keyPublics: Readonly<Record<CertifiedKey, Buffer>>
  readonly skJwk: {
    readonly kty: 'EC'
    readonly crv: 'P-256'
    readonly x: string
    readonly y: string
  }
  readonly clock: SoftwareClock
  /** Quote over PCRs of SHA-256, and certifications of the agent's keys: members of evidence as JSON has them. */
  attest(qualifier: Qualifier, pcrs: Readonly<Record<string, Buffer>>): Attested
  /** TPM2_ActivateCredential. @returns undefined if the credential is for another EK or AK */
  activate(credentialBlob: Buffer, encryptedSecret: Buffer): Buffer | undefined
  /** TPM2_Sign with SK, as JWS has it. */
  signWithSk(input: string): string
}

interface Attested {
  readonly quote: AttestedJson
  readonly certifications: Readonly<
    Record<CertifiedKey, AttestedJson & { hierarchy: string; public: string }>
  >
}
interface AttestedJson {
  readonly attest: string
  readonly signature: string
}

export function newSoftwareSeeds(): SoftwareSeeds {
  const [rk, bk] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]
  return { ek: newKey(), ak: newKey(), sk: newKey(), rk, bk }
}

function newKey(): SoftwareKey {
  const pair = createECDH(CURVE)
  const point = pair.generateKeys()
  const padded = Buffer.alloc(COORDINATE_BYTES)
  const d = pair.getPrivateKey()
  d.copy(padded, COORDINATE_BYTES - d.length)
  return {
    d: padded.toString('base64url'),
    x: point.subarray(1, 1 + COORDINATE_BYTES).toString('base64url'),
    y: point.subarray(1 + COORDINATE_BYTES).toString('base64url'),
  }
}

/** SubjectPublicKeyInfo of a key of P-256 (RFC 5480): all but the point is the same for each. */
export function spkiOfSoftwareKey({ x, y }: SoftwareKey): Buffer {
  const head = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex')
  return Buffer.concat([head, Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
}

export function softwareTpm(seeds: SoftwareSeeds, clock: Partial<SoftwareClock> = {}): SoftwareTpm {
  const ekPublic = publicOf(EK_TEMPLATE, seeds.ek)
  const akPublic = publicOf(PRIMARIES.AK.template, seeds.ak)
  const keyPublics = {
    RK: hmacPublicOf(PRIMARIES.RK.template, seeds.rk),
    BK: hmacPublicOf(PRIMARIES.BK.template, seeds.bk),
    SK: publicOf(PRIMARIES.SK.template, seeds.sk),
  }
  const akName = nameOf(akPublic)
  const signer = qualifiedNameOf('endorsement', akName)
  const ak = privateKeyOf(seeds.ak)
  const sk = privateKeyOf(seeds.sk)
  const own: SoftwareClock = { clockMs: 1000, resetCount: 1, restartCount: 0, ...clock }
  const attested = (tag: number, extraData: Buffer, body: Buffer): AttestedJson => {
    own.clockMs += 1
    const attest = attestOf(tag, signer, extraData, own, body)
    return { attest: attest.toString('base64'), signature: signatureOf(ak, attest) }
  }
  const certified = (label: CertifiedKey, qualifier: Qualifier) => {
    const { hierarchy } = PRIMARIES[label]
    const name = nameOf(keyPublics[label])
    const body = Buffer.concat([sized(name), sized(qualifiedNameOf(hierarchy, name))])
    const attest = attested(ATTEST_TYPE.CERTIFY, certifyQualifyingData(label, qualifier), body)
    return { ...attest, hierarchy, public: keyPublics[label].toString('base64') }
  }
  return {
    ...{ ekPublic, akPublic, ekName: nameOf(ekPublic), akName, keyPublics, clock: own },
    skJwk: { kty: 'EC', crv: 'P-256', x: seeds.sk.x, y: seeds.sk.y },
    attest: (qualifier, pcrs) => {
      const body = quoteBody(pcrs)
      const quote = attested(ATTEST_TYPE.QUOTE, quoteQualifyingData(qualifier), body)
      const [RK, BK, SK] = CERTIFIED_KEYS.map((label) => certified(label, qualifier))
      if (!RK || !BK || !SK) throw new Error('not all keys')
      return { quote, certifications: { RK, BK, SK } }
    },
    activate: (blob, secret) => activated(seeds.ek, akName, blob, secret),
    signWithSk: (input) =>
      sign('sha256', Buffer.from(input), { key: sk, dsaEncoding: 'ieee-p1363' }).toString(
        'base64url',
      ),
  }
}

const EK_TEMPLATE = templateOfEk()

function templateOfEk(): Buffer {
  const found = EK_TEMPLATES.find(({ kind }) => kind === 'P-256')
  if (found === undefined) throw new Error('no template')
  return found.publicArea
}

/** A template with a point in place of its `unique`. */
function publicOf(template: Buffer, { x, y }: SoftwareKey): Buffer {
  const head = template.subarray(0, parsePublic(template).uniqueOffset)
  return Buffer.concat([
    head,
    sized(Buffer.from(x, 'base64url')),
    sized(Buffer.from(y, 'base64url')),
  ])
}

function hmacPublicOf(template: Buffer, unique: string): Buffer {
  const head = template.subarray(0, parsePublic(template).uniqueOffset)
  return Buffer.concat([head, sized(Buffer.from(unique, 'hex'))])
}

function privateKeyOf({ d, x, y }: SoftwareKey): KeyObject {
  return createPrivateKey({ key: { kty: 'EC', crv: 'P-256', d, x, y }, format: 'jwk' })
}

/** TPMS_ATTEST (Part 2, 10.12.12). */
function attestOf(
  tag: number,
  signer: Buffer,
  extraData: Buffer,
  { clockMs, resetCount, restartCount }: SoftwareClock,
  body: Buffer,
): Buffer {
  const head = Buffer.alloc(6)
  head.writeUInt32BE(TPM_GENERATED, 0)
  head.writeUInt16BE(tag, 4)
  // TPMS_CLOCK_INFO, and firmwareVersion.
  const clock = Buffer.alloc(25)
  clock.writeBigUInt64BE(BigInt(clockMs), 0)
  clock.writeUInt32BE(resetCount, 8)
  clock.writeUInt32BE(restartCount, 12)
  clock.writeUInt8(1, 16)
  return Buffer.concat([head, sized(signer), sized(extraData), clock, body])
}

/** TPMT_SIGNATURE of ECDSA (Part 2, 11.3.4), in base64. */
function signatureOf(key: KeyObject, bytes: Buffer): string {
  const both = sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' })
  const head = Buffer.alloc(4)
  head.writeUInt16BE(ALG.ECDSA, 0)
  head.writeUInt16BE(ALG.SHA256, 2)
  const halves = [both.subarray(0, COORDINATE_BYTES), both.subarray(COORDINATE_BYTES)].map(sized)
  return Buffer.concat([head, ...halves]).toString('base64')
}

/** TPMS_QUOTE_INFO (Part 2, 10.12.4) over PCRs of the bank SHA-256. */
function quoteBody(pcrs: Readonly<Record<string, Buffer>>): Buffer {
  const numbers = Object.keys(pcrs).map(Number)
  const digest = createHash('sha256')
  for (const pcr of numbers.toSorted((one, other) => one - other)) digest.update(pcrs[pcr] ?? '')
  const selection = Buffer.alloc(10)
  selection.writeUInt32BE(1, 0)
  selection.writeUInt16BE(ALG.SHA256, 4)
  selection.writeUInt8(3, 6)
  for (const pcr of numbers)
    selection[7 + (pcr >> 3)] = (selection[7 + (pcr >> 3)] ?? 0) | (1 << (pcr & 7))
  return Buffer.concat([selection, sized(digest.digest())])
}

/** The other side of src/verify/make-credential.ts (Part 1, 24, B.10.3 and C.6.4). */
function activated(
  ek: SoftwareKey,
  akName: Buffer,
  credentialBlob: Buffer,
  encryptedSecret: Buffer,
): Buffer | undefined {
  const point = new ByteReader(encryptedSecret, 'TPMS_ECC_POINT')
  const [x, y] = [point.sized(COORDINATE_BYTES), point.sized(COORDINATE_BYTES)]
  const pair = createECDH(CURVE)
  pair.setPrivateKey(Buffer.from(ek.d, 'base64url'))
  const z = pair.computeSecret(Buffer.concat([Uint8Array.of(4), x, y]))
  const seed = kdfe(SHA256, z, 'IDENTITY', x, Buffer.from(ek.x, 'base64url'), SHA256.bytes * 8)
  const blob = new ByteReader(credentialBlob, 'TPMS_ID_OBJECT')
  const mac = blob.sized(SHA256.bytes)
  const encIdentity = blob.rest()
  const none = Buffer.alloc(0)
  const macKey = kdfa(SHA256, seed, 'INTEGRITY', none, none, SHA256.bytes * 8)
  const right = createHmac('sha256', macKey).update(encIdentity).update(akName).digest()
  if (!right.equals(mac)) return undefined
  const key = kdfa(SHA256, seed, 'STORAGE', akName, none, CIPHER_BITS)
  const cipher = createDecipheriv(`aes-${CIPHER_BITS}-cfb`, key, Buffer.alloc(16))
  return new ByteReader(
    Buffer.concat([cipher.update(encIdentity), cipher.final()]),
    'secret',
  ).sized(SHA256.bytes)
}
