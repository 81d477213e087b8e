import assert from 'node:assert/strict'
import { decodeToolsCredential, encodeToolsCredential } from '../../../src/format/activation.ts'
import { hashAlgorithm } from '../../../src/format/algorithms.ts'
import { sized } from '../../../src/format/byte-reader.ts'
import {
  ATTEST_BYTES_MAX,
  parseAttest,
  type TpmAttest,
  unwrapAttest,
} from '../../../src/format/tpm-attest.ts'
import { nameOf } from '../../../src/format/tpm-name.ts'
import { PUBLIC_BYTES_MAX, parsePublic, type TpmPublic } from '../../../src/format/tpm-public.ts'
import { parseSignature, type TpmSignature } from '../../../src/format/tpm-signature.ts'
import { AK_TEMPLATE, BK_TEMPLATE, EK_TEMPLATES } from '../../../src/format/tpm-templates.ts'
import { altered, Choices } from '../choices.ts'
import { type FuzzTarget, outcome } from '../target.ts'

/** A reader, genuine structures for it, and how what it read is written: it must be the same bytes. */
interface Structure {
  readonly genuine: readonly [Buffer, ...Buffer[]]
  /** @returns undefined if it was refused */
  rewritten(bytes: Buffer): Buffer | undefined
}

const QUOTE = Buffer.concat([
  Buffer.from('ff5443478018', 'hex'),
  ...[
    sized(Buffer.alloc(34, 7)),
    sized(Buffer.alloc(32, 8)),
    Buffer.alloc(8, 1),
    Buffer.alloc(8, 2),
    Buffer.of(1),
  ],
  ...[Buffer.alloc(8, 3), Buffer.from('00000001000b03810000', 'hex'), sized(Buffer.alloc(32, 9))],
])
const CERTIFY = Buffer.concat([
  Buffer.from('ff5443478017', 'hex'),
  ...[
    sized(Buffer.alloc(34, 7)),
    sized(Buffer.alloc(32, 8)),
    Buffer.alloc(17, 0),
    Buffer.alloc(8, 3),
  ],
  ...[sized(Buffer.alloc(34, 1)), sized(Buffer.alloc(34, 2))],
])
const ECDSA = Buffer.concat([
  Buffer.from('0018000b', 'hex'),
  sized(Buffer.alloc(32, 1)),
  sized(Buffer.alloc(31, 2)),
])
const RSASSA = Buffer.concat([Buffer.from('0014000b', 'hex'), sized(Buffer.alloc(256, 1))])
const TOOLS = Buffer.concat([
  Buffer.from('badcc0de00000001', 'hex'),
  sized(Buffer.alloc(52, 1)),
  sized(Buffer.alloc(70, 2)),
])

const STRUCTURES: readonly [Structure, ...Structure[]] = [
  {
    genuine: [AK_TEMPLATE, BK_TEMPLATE, ...EK_TEMPLATES.map(({ publicArea }) => publicArea)],
    rewritten: (bytes) => {
      const parsed = read(() => parsePublic(bytes))
      if (parsed === undefined) return undefined
      assert.ok(bytes.length <= PUBLIC_BYTES_MAX)
      assert.equal(nameOf(bytes).readUInt16BE(0), parsed.nameAlg)
      return writePublic(parsed)
    },
  },
  {
    genuine: [QUOTE, CERTIFY],
    rewritten: (bytes) => {
      const parsed = read(() => parseAttest(bytes))
      if (parsed === undefined) return undefined
      assert.ok(bytes.length <= ATTEST_BYTES_MAX)
      // Wrapped or not, what is unwrapped is unwrapped.
      assert.ok(unwrapAttest(sized(bytes)).equals(unwrapAttest(unwrapAttest(sized(bytes)))))
      return writeAttest(parsed, bytes)
    },
  },
  {
    genuine: [ECDSA, RSASSA],
    rewritten: (bytes) => {
      const parsed = read(() => parseSignature(bytes))
      return parsed === undefined ? undefined : writeSignature(parsed)
    },
  },
  {
    genuine: [TOOLS],
    rewritten: (bytes) => {
      const parsed = read(() => decodeToolsCredential(bytes))
      return parsed === undefined ? undefined : encodeToolsCredential(parsed)
    },
  },
]

export const target: FuzzTarget = {
  execution: 'one TPMT_PUBLIC, TPMS_ATTEST, TPMT_SIGNATURE or credential read, and written again',
  bytesMax: 640,
  turns: 4,
  seeds: () =>
    STRUCTURES.flatMap(({ genuine }, which) =>
      genuine.flatMap((bytes, at) => [
        Buffer.concat([Buffer.of(which, 0), bytes]),
        Buffer.of(which, 1, at, 0, 0, 0, 0, 30, 1, 9),
      ]),
    ),
  run(input) {
    const choices = new Choices(input)
    const { genuine, rewritten } = choices.pick(STRUCTURES)
    const bytes = choices.isTrue() ? altered(choices.pick(genuine), choices) : choices.rest()
    const again = rewritten(bytes)
    if (again !== undefined)
      assert.ok(again.equals(bytes), `another spelling of ${bytes.toString('hex')}`)
  },
}

function read<T>(parse: () => T): T | undefined {
  const { value, code } = outcome(parse)
  if (code !== undefined) assert.equal(code, 'VERIFY_STRUCTURE')
  return value
}

function writePublic(parsed: TpmPublic): Buffer {
  const type = { rsa: 1, ecc: 0x23, keyedhash: 8 }[parsed.type]
  const head = [u16(type), u16(parsed.nameAlg), u32(parsed.attributes), sized(parsed.authPolicy)]
  if (parsed.type === 'keyedhash') {
    const kdf = parsed.kdf === undefined ? [] : writeScheme(parsed.kdf)
    return Buffer.concat([...head, ...writeScheme(parsed.scheme), ...kdf, sized(parsed.unique)])
  }
  const { symmetric } = parsed
  const cipher =
    symmetric === undefined
      ? [u16(0x10)]
      : [symmetric.algorithm, symmetric.keyBits, symmetric.mode].map(u16)
  const start = [...head, ...cipher, ...writeScheme(parsed.scheme)]
  if (parsed.type === 'rsa') {
    return Buffer.concat([
      ...start,
      u16(parsed.keyBits),
      u32(parsed.exponent),
      sized(parsed.modulus),
    ])
  }
  return Buffer.concat([
    ...start,
    u16(parsed.curve),
    ...writeScheme(parsed.kdf),
    sized(parsed.x),
    sized(parsed.y),
  ])
}

function writeScheme({
  algorithm,
  hash,
}: {
  algorithm: number
  hash: number | undefined
}): Buffer[] {
  return hash === undefined ? [u16(algorithm)] : [u16(algorithm), u16(hash)]
}

function writeAttest(parsed: TpmAttest, bytes: Buffer): Buffer {
  const { magic, qualifiedSigner, extraData, clock, firmwareVersion, body } = parsed
  const tag = body.type === 'quote' ? 0x8018 : body.type === 'certify' ? 0x8017 : body.tag
  const head = Buffer.concat([
    ...[
      u32(magic),
      u16(tag),
      sized(qualifiedSigner),
      sized(extraData),
      u64(clock.clockMs),
      u32(clock.resetCount),
    ],
    ...[u32(clock.restartCount), Buffer.of(clock.safe ? 1 : 0), u64(firmwareVersion)],
  ])
  if (body.type === 'other') return Buffer.concat([head, bytes.subarray(head.length)])
  if (body.type === 'certify')
    return Buffer.concat([head, sized(body.name), sized(body.qualifiedName)])
  // The length of a bitmap is the one thing that is not kept: it is taken from the bytes.
  let at = head.length + 4
  const banks = body.selection.map(({ hash, pcrs }) => {
    const bitmap = Buffer.alloc(bytes.readUInt8(at + 2))
    at += 3 + bitmap.length
    for (const pcr of pcrs) bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7))
    return Buffer.concat([u16(hashAlgorithm(hash)), Buffer.of(bitmap.length), bitmap])
  })
  return Buffer.concat([head, u32(banks.length), ...banks, sized(body.pcrDigest)])
}

function writeSignature(parsed: TpmSignature): Buffer {
  const values = 'r' in parsed ? [sized(parsed.r), sized(parsed.s)] : [sized(parsed.signature)]
  return Buffer.concat([u16(parsed.algorithm), u16(parsed.hash), ...values])
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}
