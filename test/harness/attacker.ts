import { createPublicKey, type KeyObject, sign } from 'node:crypto'
import { ALG, hashAlgorithm } from '../../src/format/algorithms.ts'
import { sized } from '../../src/format/byte-reader.ts'
import { CERTIFIED_KEYS, type CertifiedKey, type Evidence } from '../../src/format/evidence.ts'
import { ATTEST_TYPE, parseAttest, type TpmAttest } from '../../src/format/tpm-attest.ts'
import { nameOf, qualifiedNameOf } from '../../src/format/tpm-name.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { AK_TEMPLATE } from '../../src/format/tpm-templates.ts'
import { newKey } from './certificate.ts'

/**
 * An attacker with a genuine EK certificate and an AK in software: it can sign anything that looks
 * like an attestation. Without activation nothing but the checks of content stands in its way.
 */

/** A part of TPMS_ATTEST to be other than genuine. */
type Alteration = Partial<Omit<TpmAttest, 'body'>> & { readonly body?: TpmAttest['body'] }

export interface Forgery {
  readonly quote?: Alteration
  readonly RK?: Alteration
  readonly BK?: Alteration
  readonly SK?: Alteration
  /** TPMT_PUBLIC that the AK shows; made from the AK's template when left out. */
  readonly akPublic?: (key: KeyObject) => Buffer
  /** Parts to sign with SHA-1. */
  readonly sha1?: readonly ('quote' | CertifiedKey)[]
  /** What signs; a new key when left out. */
  readonly key?: KeyObject
}

/** The evidence with every attestation made again and signed by a software AK. */
export function forge(evidence: Evidence, forgery: Forgery = {}): Evidence {
  const { key = newKey(), sha1 = [] } = forgery
  const akPublic = (forgery.akPublic ?? softwareAk)(key)
  const qualifiedSigner = qualifiedNameOf('endorsement', nameOf(akPublic))
  const again = (part: 'quote' | CertifiedKey, attest: Buffer) => {
    const alteration = forgery[part] ?? {}
    const bytes = encodeAttest({ ...parseAttest(attest), qualifiedSigner, ...alteration })
    return {
      attest: bytes,
      signature: signTpm(key, bytes, sha1.includes(part) ? 'sha1' : 'sha256'),
    }
  }
  const certification = (label: CertifiedKey) => {
    const genuine = evidence.certifications[label]
    return { ...genuine, ...again(label, genuine.attest) }
  }
  const [RK, BK, SK] = CERTIFIED_KEYS.map(certification)
  if (!RK || !BK || !SK) throw new Error('not all keys')
  return {
    ...evidence,
    ak: { ...evidence.ak, public: akPublic },
    quote: again('quote', evidence.quote.attest),
    certifications: { RK, BK, SK },
  }
}

/** The public area of a software key, with the attributes of a template. */
export function softwareAk(key: KeyObject, template: Buffer = AK_TEMPLATE): Buffer {
  const { x = '', y = '' } = createPublicKey(key).export({ format: 'jwk' })
  const head = template.subarray(0, parsePublic(template).uniqueOffset)
  return Buffer.concat([
    head,
    sized(Buffer.from(x, 'base64url')),
    sized(Buffer.from(y, 'base64url')),
  ])
}

/** TPMT_SIGNATURE of ECDSA with leading zeros in place. */
export function signTpm(key: KeyObject, bytes: Buffer, hash: 'sha1' | 'sha256' = 'sha256'): Buffer {
  const halves = sign(hash, bytes, { key, dsaEncoding: 'ieee-p1363' })
  const head = Buffer.alloc(4)
  head.writeUInt16BE(ALG.ECDSA, 0)
  head.writeUInt16BE(hashAlgorithm(hash), 2)
  return Buffer.concat([head, sized(halves.subarray(0, 32)), sized(halves.subarray(32))])
}

function encodeAttest(attest: TpmAttest): Buffer {
  const { magic, qualifiedSigner, extraData, clock, firmwareVersion, body } = attest
  const head = Buffer.alloc(6)
  head.writeUInt32BE(magic, 0)
  head.writeUInt16BE(tagOf(body), 4)
  const state = Buffer.alloc(25)
  state.writeBigUInt64BE(clock.clockMs, 0)
  state.writeUInt32BE(clock.resetCount, 8)
  state.writeUInt32BE(clock.restartCount, 12)
  state.writeUInt8(clock.safe ? 1 : 0, 16)
  state.writeBigUInt64BE(firmwareVersion, 17)
  return Buffer.concat([head, sized(qualifiedSigner), sized(extraData), state, encodeBody(body)])
}

function tagOf(body: TpmAttest['body']): number {
  if (body.type === 'other') return body.tag
  return body.type === 'quote' ? ATTEST_TYPE.QUOTE : ATTEST_TYPE.CERTIFY
}

function encodeBody(body: TpmAttest['body']): Buffer {
  if (body.type === 'other') return Buffer.alloc(0)
  if (body.type === 'certify') return Buffer.concat([sized(body.name), sized(body.qualifiedName)])
  const count = Buffer.alloc(4)
  count.writeUInt32BE(body.selection.length)
  const banks = body.selection.map(({ hash, pcrs }) => {
    const bank = Buffer.alloc(6)
    bank.writeUInt16BE(hashAlgorithm(hash), 0)
    bank.writeUInt8(3, 2)
    for (const pcr of pcrs)
      bank.writeUInt8(bank.readUInt8(3 + (pcr >> 3)) | (1 << (pcr & 7)), 3 + (pcr >> 3))
    return bank
  })
  return Buffer.concat([count, ...banks, sized(body.pcrDigest)])
}
