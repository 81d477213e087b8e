import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { createAk, flushTools, tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { ALG, tpmHash } from '../../src/format/algorithms.ts'
import { sized } from '../../src/format/byte-reader.ts'
import { quoteQualifyingData } from '../../src/format/evidence-nonce.ts'
import { kdfa, kdfe } from '../../src/format/tpm-kdf.ts'
import { keyObjectOf } from '../../src/format/tpm-key.ts'
import { nameOf } from '../../src/format/tpm-name.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import {
  AK_TEMPLATE,
  BK_TEMPLATE,
  EK_TEMPLATES,
  RK_TEMPLATE,
  SK_TEMPLATE,
} from '../../src/format/tpm-templates.ts'
import { requirePcrDigest } from '../../src/measurements/pcr-quote.ts'
import {
  parseAttestation,
  requireAttestationSignature,
  requireExtraData,
  requireKeyScheme,
  requireMagic,
  requireType,
} from '../../src/verify/attestation.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { pytss } from '../harness/pytss.ts'

/**
 * What others say of our values, and we of theirs: tpm2-tools and tpm2-pytss 1.2.0, which share no
 * code with this. tpm2_checkquote is asked for acceptance only: the installed 5.4 accepts wrong types.
 */

let swtpm: Swtpm
let tpm: Tpm
beforeAll(async () => {
  swtpm = await startSwtpm()
  tpm = await openTpm({ tcti: swtpm.tcti })
})
afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
})
const at = (file: string) => join(swtpm.dir, file)

describe('ours, by others', () => {
  test('the quote, by tpm2_checkquote', async () => {
    const nonce = randomBytes(32)
    const evidence = await gatherEvidence(tpm, { nonce, certificates: [] })
    const pem = keyObjectOf(parsePublic(evidence.ak.public)).export({ type: 'spki', format: 'pem' })
    await writeFile(at('ak.pem'), pem)
    await writeFile(at('quote'), evidence.quote.attest)
    await writeFile(at('signature'), evidence.quote.signature)
    const qualification = quoteQualifyingData({ nonce }).toString('hex')
    const args = ['-u', at('ak.pem'), '-m', at('quote'), '-s', at('signature'), '-g', 'sha256']
    const run = promisify(execFile)('tpm2_checkquote', [...args, '-q', qualification])
    await expect(run).resolves.toMatchObject({ stdout: expect.stringContaining('sig:') })
  })

  test('quote and certifications, by pytss', async () => {
    const { ak, quote, certifications } = await gatherEvidence(tpm, {
      nonce: randomBytes(32),
      certificates: [],
    })
    const { RK, BK, SK } = certifications
    const answers = await Promise.all(
      [quote, RK, BK, SK].map(({ attest, signature }) =>
        pytss(VERIFY, ...[ak.public, attest, signature].map((bytes) => bytes.toString('hex'))),
      ),
    )
    expect(answers).toEqual([0x8018, 0x8017, 0x8017, 0x8017])
  })
})

const VERIFY = `
import sys, json
from tpm2_pytss import TPMT_PUBLIC, TPMT_SIGNATURE, TPMS_ATTEST
public, attest, signature = [bytes.fromhex(arg) for arg in sys.argv[1:4]]
TPMT_SIGNATURE.unmarshal(signature)[0].verify_signature(TPMT_PUBLIC.unmarshal(public)[0], attest)
print(json.dumps(int(TPMS_ATTEST.unmarshal(attest)[0].type)))
`

describe("tpm2-tools', by ours", () => {
  const schemes = [
    ['ecc', 'ecdsa', 'sha256', 'sha256'],
    ['ecc', 'ecdsa', 'sha384', 'sha256'],
    ['rsa', 'rsassa', 'sha256', 'sha256'],
    ['rsa', 'rsapss', 'sha256', 'sha256'],
    ['ecc', 'ecdsa', 'sha256', 'sha384'],
  ] as const

  test.each(schemes)('tpm2_quote: %s, %s, %s, PCRs of %s', async (type, scheme, hash, bank) => {
    const nonce = randomBytes(32)
    await createAk(swtpm, 'ecc', [type, hash, scheme])
    const files = ['--scheme', scheme, '-m', 'msg', '-s', 'sig', '-o', 'pcrs']
    await tpm2(
      swtpm,
      'quote',
      '-c',
      'ak.ctx',
      '-l',
      `${bank}:0,7,16`,
      '-q',
      nonce.toString('hex'),
      '-g',
      hash,
      ...files,
    )
    await flushTools(swtpm)
    const key = parsePublic((await readFile(at('ak.pub'))).subarray(2))
    const quote = parseAttestation(await readFile(at('msg')), await readFile(at('sig')))
    requireKeyScheme(quote, key)
    requireAttestationSignature(quote, key)
    requireMagic(quote)
    requireExtraData(quote, nonce)
    const body = requireType(quote, 'quote')
    const size = bank === 'sha256' ? 32 : 48
    const values = new Map([0, 7, 16].map((pcr) => [pcr, Buffer.alloc(size)]))
    requirePcrDigest(body, new Map([[bank, values]]), quote.signature.hash)
    expect(body.selection).toEqual([{ hash: bank, pcrs: [0, 7, 16] }])
  })

  test('tpm2_certify', async () => {
    await tpm2(swtpm, 'createprimary', '-C', 'e', '-G', 'ecc', '-c', 'key.ctx')
    await flushTools(swtpm)
    await createAk(swtpm, 'ecc', ['ecc', 'sha256', 'ecdsa'])
    await tpm2(
      swtpm,
      'certify',
      '-c',
      'key.ctx',
      '-C',
      'ak.ctx',
      '-g',
      'sha256',
      '-o',
      'attest',
      '-s',
      'sig',
    )
    await flushTools(swtpm)
    await tpm2(swtpm, 'readpublic', '-c', 'key.ctx', '-n', 'key.name')
    const key = parsePublic((await readFile(at('ak.pub'))).subarray(2))
    const certification = parseAttestation(await readFile(at('attest')), await readFile(at('sig')))
    requireAttestationSignature(certification, key)
    requireMagic(certification)
    expect(requireType(certification, 'certify').name).toEqual(await readFile(at('key.name')))
  })
})

describe('Names', () => {
  test('of every key of ours, by tpm2_loadexternal and the TPM itself', async () => {
    await tpm.sequence(async (commands) => {
      for (const template of [
        AK_TEMPLATE,
        SK_TEMPLATE,
        RK_TEMPLATE,
        BK_TEMPLATE,
        ...EK_TEMPLATES.map(({ publicArea }) => publicArea),
      ]) {
        const object = await commands.createPrimary('endorsement', template)
        expect(nameOf(object.publicArea)).toEqual(Buffer.from(object.name))
        await commands.flushContext(object)
      }
    })
  })

  test('1000 random public areas: Name and members equal those of pytss', async () => {
    const areas = fc.sample(publicArea, 1000)
    await writeFile(at('areas'), areas.map((area) => area.toString('hex')).join('\n'))
    const theirs = await pytss(NAMES, at('areas'))
    const ours = areas.map((area) => {
      const parsed = parsePublic(area)
      const unique =
        parsed.type === 'ecc'
          ? [parsed.x, parsed.y]
          : [parsed.type === 'rsa' ? parsed.modulus : parsed.unique]
      return [
        nameOf(area).toString('hex'),
        parsed.attributes,
        parsed.authPolicy.toString('hex'),
        parsed.scheme.algorithm,
        ...unique.map((bytes) => bytes.toString('hex')),
      ]
    })
    expect(ours).toEqual(theirs)
  })
})

const NAMES = `
import sys, json
from tpm2_pytss import TPMT_PUBLIC, TPM2B_PUBLIC, TPM2_ALG
out = []
for line in open(sys.argv[1]).read().split():
    public, consumed = TPMT_PUBLIC.unmarshal(bytes.fromhex(line))
    assert consumed == len(line) // 2
    unique = public.unique
    if public.type == TPM2_ALG.ECC:
        keys, scheme = [bytes(unique.ecc.x), bytes(unique.ecc.y)], public.parameters.eccDetail.scheme.scheme
    elif public.type == TPM2_ALG.RSA:
        keys, scheme = [bytes(unique.rsa)], public.parameters.rsaDetail.scheme.scheme
    else:
        keys, scheme = [bytes(unique.keyedHash)], public.parameters.keyedHashDetail.scheme.scheme
    name = bytes(public.get_name())
    out.append([name.hex(), int(public.objectAttributes), bytes(public.authPolicy).hex(), int(scheme)] + [key.hex() for key in keys])
print(json.dumps(out))
`

const u16 = (value: number) => Buffer.from([value >> 8, value & 0xff])
const bytes = (max: number) =>
  fc.uint8Array({ maxLength: max }).map((array) => sized(Buffer.from(array)))
const hash = fc.constantFrom(ALG.SHA1, ALG.SHA256, ALG.SHA384, ALG.SHA512)
/** Reserved bits of TPMA_OBJECT are left clear: pytss' marshalling refuses them. */
const attributes = fc.nat(0xffff_ffff).map((bits) => {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32BE((bits & 0x000f0cf6) >>> 0)
  return buffer
})
const symmetric = fc.oneof(
  fc.constant(u16(ALG.NULL)),
  fc.constantFrom(128, 256).map((bits) => Buffer.concat([u16(ALG.AES), u16(bits), u16(0x43)])),
)
const scheme = (...algorithms: number[]) =>
  fc.oneof(
    fc.constant(u16(ALG.NULL)),
    fc
      .tuple(fc.constantFrom(...algorithms), hash)
      .map(([algorithm, alg]) => Buffer.concat([u16(algorithm), u16(alg)])),
  )
const head = (type: number) =>
  fc
    .tuple(hash, attributes, bytes(64))
    .map(([alg, bits, policy]) => Buffer.concat([u16(type), u16(alg), bits, policy]))
const rsa = fc
  .tuple(
    head(ALG.RSA),
    symmetric,
    scheme(ALG.RSASSA, ALG.RSAPSS, ALG.OAEP),
    fc.constantFrom(1024, 2048, 3072),
    fc.constantFrom(0, 65537),
    bytes(256),
  )
  .map(([start, cipher, sign, bits, exponent, modulus]) => {
    const e = Buffer.alloc(4)
    e.writeUInt32BE(exponent)
    return Buffer.concat([start, cipher, sign, u16(bits), e, modulus])
  })
const ecc = fc
  .tuple(
    head(ALG.ECC),
    symmetric,
    scheme(ALG.ECDSA, ALG.ECSCHNORR, ALG.ECDH),
    fc.constantFrom(3, 4, 5),
    bytes(66),
    bytes(66),
  )
  .map(([start, cipher, sign, curve, x, y]) =>
    Buffer.concat([start, cipher, sign, u16(curve), u16(ALG.NULL), x, y]),
  )
const keyedHash = fc
  .tuple(head(ALG.KEYEDHASH), scheme(ALG.HMAC), bytes(64))
  .map(([start, sign, unique]) => Buffer.concat([start, sign, unique]))
const publicArea = fc.oneof(rsa, ecc, keyedHash)

describe('key derivation', () => {
  test('100 each of KDFa and KDFe equal those of pytss', async () => {
    const inputs = fc.sample(
      fc.record({
        hash,
        key: fc.uint8Array({ minLength: 16, maxLength: 64 }),
        u: fc.uint8Array({ minLength: 1, maxLength: 66 }),
        v: fc.uint8Array({ maxLength: 66 }),
        bits: fc.constantFrom(128, 256, 384, 512, 1024),
      }),
      100,
    )
    const lines = inputs.map(({ hash: alg, key, u, v, bits }) =>
      [alg, ...[key, u, v].map((part) => `x${Buffer.from(part).toString('hex')}`), bits].join(' '),
    )
    await writeFile(at('kdf'), lines.join('\n'))
    const ours = inputs.map(({ hash: alg, key, u, v, bits }) => {
      const algorithm = tpmHash(alg)
      if (algorithm === undefined) throw new Error('hash')
      return [
        kdfa(algorithm, key, 'STORAGE', u, v, bits),
        kdfe(algorithm, key, 'IDENTITY', u, v, bits),
      ].map((derived) => derived.toString('hex'))
    })
    expect(ours).toEqual(await pytss(KDF, at('kdf')))
  })

  test('bits that are no whole bytes: the top bits of the first byte are clear', () => {
    const sha256 = tpmHash(ALG.SHA256)
    if (sha256 === undefined) throw new Error('hash')
    const derived = kdfe(
      sha256,
      Buffer.alloc(66, 1),
      'IDENTITY',
      Buffer.alloc(1),
      Buffer.alloc(1),
      521,
    )
    expect([derived.length, derived.readUInt8(0) & 0xfe]).toEqual([66, 0])
    expect(createHash('sha256').update(derived).digest()).toHaveLength(32)
  })
})

const KDF = `
import sys, json
from tpm2_pytss.internal.crypto import _kdfa, kdfe
out = []
for line in open(sys.argv[1]):
    alg, key, u, v, bits = line.split()
    key, u, v = [bytes.fromhex(part[1:]) for part in (key, u, v)]
    a = _kdfa(int(alg), key, b"STORAGE", u, v, int(bits))
    e = kdfe(int(alg), key, b"IDENTITY\\0", u, v, int(bits))
    out.append([bytes(a).hex(), bytes(e).hex()])
print(json.dumps(out))
`
