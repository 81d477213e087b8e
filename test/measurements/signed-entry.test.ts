import { sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { StrongHash } from '../../src/format/algorithms.ts'
import {
  type ExpectedSignature,
  parsePcrSignatures,
  signedEntry,
} from '../../src/measurements/pcr-signature.ts'
import { newKey } from '../harness/certificate.ts'
import { digestOf } from '../harness/logs.ts'
import { detailOf } from '../harness/verify-case.ts'

/** The entries of a `.pcrsig`, as systemd's src/measure/measure-tool.c writes them: their form, and which one is of a quote. */

const KEY = newKey()
const PCR7 = Buffer.alloc(32, 7)
const PCR11 = Buffer.alloc(32, 11)
const VALUES = new Map<StrongHash, ReadonlyMap<number, Buffer>>([
  ['sha256', new Map([11, 7].map((pcr) => [pcr, pcr === 7 ? PCR7 : PCR11]))],
  ['sha384', new Map([[11, Buffer.alloc(48, 11)]])],
])

/** TPM 2.0 Part 3, 23.7: from zeros on, the command, TPML_PCR_SELECTION and the digest of the values. */
const policyPcr = (selection: string, values: Buffer) =>
  digestOf(
    'sha256',
    Buffer.concat([
      Buffer.alloc(32),
      Buffer.from(`0000017f00000001${selection}`, 'hex'),
      digestOf('sha256', values),
    ]),
  )
const OF_11 = policyPcr('000b03000800', PCR11)
const OF_7_AND_11 = policyPcr('000b03800800', Buffer.concat([PCR7, PCR11]))
const OF_SHA384 = policyPcr('000c03000800', Buffer.alloc(48, 11))

interface Made {
  readonly pcrs?: readonly number[]
  readonly pol?: Buffer
  /** What is signed, if it is another policy. */
  readonly signedPol?: Buffer
  readonly ref?: string | undefined
  readonly signedRef?: string | undefined
  readonly hash?: string
}

function entry({ pcrs = [11], pol = OF_11, signedPol = pol, ref, ...made }: Made = {}): object {
  const { signedRef = ref, hash = 'sha256' } = made
  const reference = signedRef === undefined ? Buffer.alloc(0) : digestOf('sha256', signedRef)
  const sig = sign(hash, Buffer.concat([signedPol, reference]), KEY).toString('base64')
  return { pcrs, pol: pol.toString('hex'), ...(ref === undefined ? {} : { ref }), sig }
}

const bytesOf = (banks: object) => Buffer.from(JSON.stringify(banks))
function found(banks: object, expected: Partial<ExpectedSignature> = {}): number | undefined {
  const key = { key: KEY, hash: 'sha256' } as const
  const wanted = { bank: 'sha256', pcrs: [11], key, ref: undefined, ...expected } as const
  return signedEntry(parsePcrSignatures(bytesOf(banks)), VALUES, wanted)
}

describe('an entry is found', () => {
  test('by its place in the list of its bank', () => {
    const sha256 = [entry({ signedPol: OF_SHA384 }), entry(), entry()]
    expect(found({ sha256 })).toBe(2)
  })

  test.each<[string, Made, readonly number[]]>([
    ['in their order', { pcrs: [7, 11] }, [7, 11]],
    ['in another order, in the entry and in the rule', { pcrs: [11, 7] }, [11, 7, 7]],
    ['one of them twice', { pcrs: [7, 11, 7] }, [7, 11]],
  ])('of several PCRs, %s', (_, made, pcrs) => {
    expect(found({ sha256: [entry({ pol: OF_7_AND_11, ...made })] }, { pcrs })).toBe(1)
  })

  test('with the policy reference that is signed along with it', () => {
    expect(found({ sha256: [entry({ ref: 'initrd' })] }, { ref: 'initrd' })).toBe(1)
  })

  // Of the policy digest, which is of SHA-256 in every bank.
  test.each(['sha256', 'sha384'])('signed by %s in the bank of SHA-384', (hash) => {
    const sha384 = [entry({ pol: OF_SHA384, hash })]
    expect(found({ sha384 }, { bank: 'sha384' })).toBe(1)
  })
})

describe('no entry is found', () => {
  const none: readonly [string, object, Partial<ExpectedSignature>?][] = [
    ['among none', { sha256: [] }],
    ['in a file of another bank', { sha384: [entry()] }],
    ['signed by the hash of another bank', { sha256: [entry({ hash: 'sha384' })] }],
    ['that says other PCRs than it is of', { sha256: [entry({ pcrs: [7] })] }],
    ['that says more PCRs than it is of', { sha256: [entry({ pcrs: [7, 11] })] }],
    [
      'whose policy is not the one that is signed',
      { sha256: [entry({ pol: OF_SHA384, signedPol: OF_11 })] },
    ],
    ['whose signature is of another policy', { sha256: [entry({ signedPol: OF_SHA384 })] }],
    [
      'that says a reference which is not signed',
      { sha256: [entry({ ref: 'a', signedRef: 'b' })] },
      { ref: 'a' },
    ],
    [
      'that says another reference than is signed',
      { sha256: [entry({ ref: 'a', signedRef: 'b' })] },
      { ref: 'b' },
    ],
    // SHA-256 of nothing is a reference, too.
    ['of an empty reference, where none is expected', { sha256: [entry({ ref: '' })] }],
    ['of a PCR without a value', { sha256: [entry({ pcrs: [12] })] }, { pcrs: [12] }],
    [
      'of PCRs of which one has no value',
      { sha256: [entry({ pcrs: [11, 12] })] },
      { pcrs: [11, 12] },
    ],
    ['of a bank without values', { sha512: [entry()] }, { bank: 'sha512' }],
  ]
  test.each(none)('%s', (_, banks, expected) => {
    expect(found(banks, expected)).toBeUndefined()
  })
})

describe('the file', () => {
  const text = bytesOf({ sha256: [entry()] })
  const padded = (bytes: number) => Buffer.concat([text, Buffer.alloc(bytes - text.length)])

  test('may be padded with NULs, up to 64 KiB, and have banks and members besides', () => {
    expect(parsePcrSignatures(padded(65_536))).toEqual(parsePcrSignatures(text))
    const more = bytesOf({ sha1: [1], sha256: [{ ...entry(), pkfp: '00', new: 1 }] })
    expect(parsePcrSignatures(more).sha256).toHaveLength(1)
    expect(parsePcrSignatures(Buffer.from('{}')).sha256).toBeUndefined()
  })

  const many = (count: number) => ({ sha512: Array.from({ length: count }, () => entry()) })
  const base64 = (bytes: number) => Buffer.alloc(bytes).toString('base64')
  test.each<[string, Buffer, string]>([
    ['longer than 64 KiB', padded(65_537), 'Longer than 65536 bytes.'],
    ['NULs alone', Buffer.alloc(3), 'It is not JSON in UTF-8.'],
    ['nothing', Buffer.alloc(0), 'It is not JSON in UTF-8.'],
    ['a NUL before the text', Buffer.concat([Buffer.alloc(1), text]), 'It is not JSON in UTF-8.'],
    [
      'a member that stands twice',
      Buffer.from('{"sha256":[],"sha256":[]}'),
      'A member stands twice.',
    ],
    ['no object', Buffer.from('[]'), 'document: invalid type.'],
    ['65 entries', bytesOf(many(65)), 'sha512: too big.'],
    ...(
      [
        ['pcrs', [], 'too small'],
        ['pcrs', Array.from({ length: 25 }, () => 11), 'too big'],
        ['pcrs.0', [-1], 'too small'],
        ['pcrs.0', [24], 'too big'],
        ['pol', '00'.repeat(31), 'custom'],
        ['pol', '00'.repeat(33), 'too big'],
        ['sig', '', 'custom'],
        ['sig', base64(1025), 'custom'],
        ['ref', 'r'.repeat(257), 'too big'],
      ] as const
    ).map(([where, value, why]): [string, Buffer, string] => {
      const [member = ''] = where.split('.')
      const sha384 = [entry(), { ...entry(), [member]: value }]
      return [`${where}: ${why}`, bytesOf({ sha384 }), `sha384.1.${where}: ${why}.`]
    }),
  ])('is refused: %s', (_, file, why) => {
    expect(detailOf(() => parsePcrSignatures(file))).toBe(`VERIFY_PCR_SIGNATURES ${why}`)
  })

  test.each([
    ['64 entries', many(64)],
    ['PCRs 0 to 23', { sha256: [entry({ pcrs: Array.from({ length: 24 }, (_, pcr) => pcr) })] }],
    ['a signature of 1024 bytes', { sha256: [{ ...entry(), sig: base64(1024) }] }],
    ['a reference of 256 characters', { sha256: [{ ...entry(), ref: 'r'.repeat(256) }] }],
  ])('may have %s', (_, banks) => {
    expect(() => parsePcrSignatures(bytesOf(banks))).not.toThrow()
  })
})
