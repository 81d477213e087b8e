import { describe, expect, test } from 'vitest'
import { ALG, type TpmHash } from '../../src/format/algorithms.ts'
import type { Evidence } from '../../src/format/evidence.ts'
import type { TpmPcrSelection } from '../../src/format/tpm-pcr-selection.ts'
import {
  type PcrValues,
  pcrValuesOf,
  requirePcrDigest,
  requireSelection,
} from '../../src/measurements/pcr-quote.ts'
import { digestOf } from '../harness/logs.ts'
import { detailOf } from '../harness/verify-case.ts'

/**
 * What a TPM quoted, and what was shown with it. TPMS_QUOTE_INFO (TPM 2.0 Part 2, 10.12.4) has the selection and one
 * digest of all values: who shows other values, or values of other PCRs, must be found out by these two alone.
 */

const BYTES = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 } as const
type Bank = TpmHash['name']

/** A value that says which PCR it is of. */
const pcrValue = (bank: Bank, pcr: number) => Buffer.alloc(BYTES[bank], pcr)
const shown = (banks: Partial<Record<Bank, readonly number[]>>): PcrValues =>
  pcrValuesOf(
    Object.fromEntries(
      Object.entries(banks).map(([bank, pcrs]) => [
        bank,
        Object.fromEntries(pcrs.map((pcr) => [pcr, pcrValue(bank as Bank, pcr)])),
      ]),
    ) as Evidence['pcrs'],
  )
const selected = (hash: Bank, ...pcrs: number[]): TpmPcrSelection => ({ hash, pcrs })

test('the values that evidence shows are known by bank and number, and no other bank is there', () => {
  const values = shown({ sha384: [7], sha256: [0, 23] })
  expect([...values.keys()]).toEqual(['sha256', 'sha384'])
  expect([...(values.get('sha256') ?? [])]).toEqual([
    [0, pcrValue('sha256', 0)],
    [23, pcrValue('sha256', 23)],
  ])
  expect(values.get('sha384')?.get(7)).toEqual(pcrValue('sha384', 7))
})

describe('a quote over exactly what is shown is taken', () => {
  test.each<[string, TpmPcrSelection[], PcrValues, ReadonlySet<string> | undefined]>([
    ['one bank', [selected('sha256', 0, 7)], shown({ sha256: [0, 7] }), undefined],
    ['SHA-512', [selected('sha512', 7)], shown({ sha512: [7] }), undefined],
    // As numbers: by their text 10 would stand before 2.
    [
      'shown in another order',
      [selected('sha256', 2, 10)],
      new Map([['sha256', new Map([10, 2].map((pcr) => [pcr, pcrValue('sha256', pcr)]))]]),
      undefined,
    ],
    [
      'two banks that are allowed, in the order of the TPM',
      [selected('sha384', 0), selected('sha256', 7)],
      shown({ sha256: [7], sha384: [0] }),
      new Set(['sha256', 'sha384']),
    ],
    [
      'SHA-1 where it is allowed',
      [selected('sha1', 7)],
      shown({ sha1: [7] }),
      new Set(['sha1', 'sha256']),
    ],
  ])('%s', (_, selection, values, banks) => {
    expect(() => requireSelection(selection, values, banks)).not.toThrow()
  })
})

describe('a selection is refused', () => {
  const both = shown({ sha256: [7], sha384: [7] })
  test.each<[string, TpmPcrSelection[], PcrValues, ReadonlySet<string> | undefined, string]>([
    [
      'that names a bank twice',
      [selected('sha256', 0), selected('sha256', 7)],
      shown({ sha256: [0, 7] }),
      undefined,
      'a bank is selected twice',
    ],
    [
      'that names a bank twice where several are allowed',
      [selected('sha256', 7), selected('sha256', 7)],
      shown({ sha256: [7] }),
      new Set(['sha256', 'sha384']),
      'a bank is selected twice',
    ],
    ['of no bank', [], new Map(), undefined, '0 banks'],
    [
      'of two banks where one is expected',
      [selected('sha256', 7), selected('sha384', 7)],
      both,
      undefined,
      '2 banks',
    ],
    ['of SHA-1', [selected('sha1', 7)], shown({ sha1: [7] }), undefined, 'bank sha1'],
    [
      'of a bank that is not among those allowed',
      [selected('sha256', 7), selected('sha384', 7)],
      both,
      new Set(['sha256']),
      'bank sha384',
    ],
    // Its digest is that of nothing: any TPM quotes it at any time.
    ['of no PCR', [selected('sha256')], shown({ sha256: [] }), undefined, 'no PCR in a bank'],
    [
      'of no PCR in one of two banks',
      [selected('sha256', 7), selected('sha384')],
      shown({ sha256: [7], sha384: [] }),
      new Set(['sha256', 'sha384']),
      'no PCR in a bank',
    ],
  ])('%s', (_, selection, values, banks, why) => {
    expect(detailOf(() => requireSelection(selection, values, banks))).toBe(
      `VERIFY_PCR_SELECTION Found: ${why}.`,
    )
  })

  test.each<[string, TpmPcrSelection, PcrValues]>([
    ['fewer PCRs', selected('sha256', 0), shown({ sha256: [0, 7] })],
    ['more PCRs', selected('sha256', 0, 7), shown({ sha256: [0] })],
    ['another PCR', selected('sha256', 16), shown({ sha256: [7] })],
    [
      'PCRs whose numbers have the same digits',
      selected('sha256', 1, 23),
      shown({ sha256: [1, 2, 3] }),
    ],
    ['another bank', selected('sha384', 7), shown({ sha256: [7] })],
    ['one bank of two', selected('sha256', 7), both],
  ])('of %s than are shown (CVE-2022-0317, CVE-2024-29039)', (_, selection, values) => {
    expect(detailOf(() => requireSelection([selection], values, undefined))).toBe(
      'VERIFY_PCR_SELECTION Found: other PCRs than are shown.',
    )
  })
})

/** What a TPM makes of values, by the hash of its signing scheme (Part 3, 18.4: TPM2_Quote). */
const quoteOf = (selection: readonly TpmPcrSelection[], hash: 'sha256' | 'sha384') => ({
  selection,
  pcrDigest: digestOf(
    hash,
    Buffer.concat(selection.flatMap((each) => each.pcrs.map((pcr) => pcrValue(each.hash, pcr)))),
  ),
})

describe('the digest of a quote', () => {
  const two = [selected('sha384', 7), selected('sha256', 0, 7)]
  const values = shown({ sha256: [0, 7], sha384: [7] })

  test.each([
    ['sha256', ALG.SHA256],
    ['sha384', ALG.SHA384],
  ] as const)('is by the hash that signs, %s, whichever banks it is of', (hash, algorithm) => {
    expect(() => requirePcrDigest(quoteOf(two, hash), values, algorithm)).not.toThrow()
  })

  const DIGEST = 'VERIFY_PCR_DIGEST'
  test.each<[string, readonly TpmPcrSelection[], PcrValues, number, string]>([
    ['by a hash that nobody here knows, SM3', two, values, 0x0012, `${DIGEST} undefined`],
    ['by another hash than the one that signs', two, values, ALG.SHA384, `${DIGEST} undefined`],
    [
      'of a PCR that is not shown',
      [selected('sha256', 0, 1)],
      shown({ sha256: [0] }),
      ALG.SHA256,
      `${DIGEST} sha256 PCR 1 has another length.`,
    ],
    [
      'of a bank that is not shown',
      [selected('sha384', 7)],
      shown({ sha256: [7] }),
      ALG.SHA256,
      `${DIGEST} sha384 PCR 7 has another length.`,
    ],
  ])('is refused %s', (_, selection, of, algorithm, said) => {
    expect(detailOf(() => requirePcrDigest(quoteOf(selection, 'sha256'), of, algorithm))).toBe(said)
  })

  test('is refused of values that are cut in another place', () => {
    const halves = [Buffer.alloc(31, 1), Buffer.alloc(33, 1)].map(
      (value, pcr) => [pcr, value] as const,
    )
    const selection = [selected('sha256', 0, 1)]
    const pcrDigest = digestOf('sha256', Buffer.alloc(64, 1))
    expect(
      detailOf(() =>
        requirePcrDigest(
          { selection, pcrDigest },
          new Map([['sha256', new Map(halves)]]),
          ALG.SHA256,
        ),
      ),
    ).toBe(`${DIGEST} sha256 PCR 0 has another length.`)
  })

  test('is refused of another value', () => {
    const quote = quoteOf([selected('sha256', 7)], 'sha256')
    const other = new Map([['sha256' as const, new Map([[7, pcrValue('sha256', 8)]])]])
    expect(detailOf(() => requirePcrDigest(quote, other, ALG.SHA256))).toBe(`${DIGEST} undefined`)
  })
})
