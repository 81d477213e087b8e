import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  CHAIN_ORIGIN,
  type ChainHead,
  checkpointMessage,
  decodeLine,
  encodeBody,
  encodeLine,
} from '../../src/audit/chain.ts'
import { type ChainVerdict, type Expected, verifyAudit } from '../../src/audit/verify.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })

type Fields = { readonly event: string } & Readonly<Record<string, unknown>>

/** Lines of a chain after `from`; `checkpoint` in place of a record signs what is there so far. */
function chainOf(records: readonly (Fields | 'checkpoint')[], from: ChainHead = CHAIN_ORIGIN) {
  const lines: string[] = []
  let head = from
  for (const record of records) {
    const fields = record === 'checkpoint' ? checkpoint(head, privateKey) : record
    const seq = head.seq + 1 + (typeof fields.lost === 'number' ? fields.lost : 0)
    const line = encodeLine(head.hash, seq, encodeBody(fields))
    lines.push(line.text)
    head = line.head
  }
  return { lines, head }
}

function checkpoint(of: ChainHead, key: KeyObject): Fields {
  const signature = sign('sha256', checkpointMessage(of), { key, dsaEncoding: 'ieee-p1363' })
  const spki = (key === privateKey ? publicKey : other.publicKey).export({
    type: 'spki',
    format: 'der',
  })
  return {
    event: 'chain.checkpoint',
    checkpoint: { of, key: spki.toString('base64'), signature: signature.toString('base64') },
  }
}

function check(files: readonly (readonly string[])[], expected: Expected = {}): ChainVerdict {
  return verifyAudit(
    files.map((lines, at) => ({ name: `file${at}`, lines })),
    expected,
  )
}

const START = { event: 'chain.start' }
const issued = (path: string) => ({ event: 'token.issued', path })
const whole = chainOf([START, issued('/a'), issued('/b'), 'checkpoint', issued('/c'), issued('/d')])

describe('a line', () => {
  test('is the record between prev and hash, and hash is SHA-256 of what stands before it', () => {
    const { text, head } = encodeLine(
      'ab'.repeat(32),
      7,
      encodeBody({ event: 'x', ...{ path: '/ä' } }),
    )
    const covered = `{"seq":7,"prev":"${'ab'.repeat(32)}","event":"x","path":"/\\u00e4"`
    expect(text).toBe(`${covered},"hash":"${createHash('sha256').update(covered).digest('hex')}"}`)
    expect(decodeLine(text)).toEqual({
      ...head,
      prev: 'ab'.repeat(32),
      record: { ...JSON.parse(text) },
    })
  })

  test('has printable characters alone, whatever is recorded', () => {
    const controls = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join('')
    const { text } = encodeLine(
      'ab'.repeat(32),
      1,
      encodeBody({ event: 'x', ...{ path: controls } }),
    )
    expect(text).toMatch(/^[\x20-\x7e]+$/)
    expect(decodeLine(text)?.record.path).toBe(controls)
  })

  test.each(['', '{}', 'null', '[1]', `${whole.lines[0]} `, ` ${whole.lines[0]}`])(
    'is not %j',
    (text) => {
      expect(decodeLine(text)).toBeUndefined()
    },
  )
})

test('a line whose hash is right, and that is no JSON, is none', () => {
  expect(decodeLine(encodeLine(CHAIN_ORIGIN.hash, 1, '{"event":}').text)).toBeUndefined()
})

describe('a chain', () => {
  test('that is whole is found whole', () => {
    expect(check([whole.lines], { key: publicKey })).toEqual({
      records: 6,
      first: 1,
      head: whole.head,
      lost: 0,
      checkpoints: 1,
      signedUpTo: 3,
      unsigned: 2,
      keys: [publicKey.export({ type: 'spki', format: 'der' }).toString('base64')],
      broken: undefined,
    })
  })

  test('any single altered byte of any line is found, in its line', () => {
    const anyByte = fc.tuple(
      fc.nat(whole.lines.length - 1),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
    )
    fc.assert(
      fc.property(anyByte, ([line, at, difference]) => {
        const bytes = Buffer.from(whole.lines[line] ?? '', 'latin1')
        const place = at % bytes.length
        bytes[place] = (bytes[place] ?? 0) ^ difference
        const altered = whole.lines.with(line, bytes.toString('latin1'))
        expect(check([altered]).broken?.line).toBe(line + 1)
      }),
      { numRuns: 2000 },
    )
  })

  test('any line left out is found, the last one with the expected head', () => {
    for (const at of whole.lines.keys()) {
      const lines = whole.lines.toSpliced(at, 1)
      const head = { hash: whole.head.hash, last: true }
      expect(check([lines], { head }).broken).toBeDefined()
    }
  })

  test('any two lines in another order are found', () => {
    const two = fc.tuple(fc.nat(whole.lines.length - 1), fc.nat(whole.lines.length - 1))
    fc.assert(
      fc.property(two, ([one, another]) => {
        fc.pre(one !== another)
        const first = whole.lines[one] ?? ''
        const second = whole.lines[another] ?? ''
        expect(check([whole.lines.with(one, second).with(another, first)]).broken).toBeDefined()
      }),
    )
  })

  test('a line given twice is found', () => {
    const lines = whole.lines.toSpliced(2, 0, whole.lines[2] ?? '')
    expect(check([lines]).broken).toEqual({
      file: 'file0',
      line: 4,
      reason: 'does not continue the record before: records are missing, moved or added',
    })
  })

  test('a cut end is found against a head that was seen elsewhere', () => {
    const cut = whole.lines.slice(0, -1)
    expect(check([cut]).broken).toBeUndefined()
    const seen = { hash: whole.head.hash, last: false }
    expect(check([whole.lines], { head: seen }).broken).toBeUndefined()
    expect(check([cut], { head: seen }).broken?.reason).toMatch(/not in the chain/)
    expect(check([cut], { head: { ...seen, last: true } }).broken?.reason).toMatch(/cut off/)
  })

  test('a gap that the agent recorded is whole, its lost records counted', () => {
    const { lines, head } = chainOf([
      START,
      issued('/a'),
      { event: 'chain.gap', lost: 5 },
      issued('/b'),
    ])
    expect(head.seq).toBe(9)
    expect(check([lines])).toMatchObject({ lost: 5, records: 4, broken: undefined })
  })

  test('numbers that jump without a recorded gap are found', () => {
    const { lines } = chainOf([START, { ...issued('/a'), lost: 2 }])
    expect(check([lines]).broken?.reason).toBe('its number does not follow')
  })

  test('a gap that lost nothing is found', () => {
    const { lines } = chainOf([START, { event: 'chain.gap', lost: 0 }])
    expect(check([lines]).broken?.reason).toMatch(/how many/)
  })

  test('of no lines is broken', () => {
    expect(check([[]]).broken).toEqual({ file: 'file0', line: 0, reason: 'the file is empty' })
  })
})

describe('what is said of a chain', () => {
  test('counts what nobody signs, from the first record that is given', () => {
    expect(check([chainOf([START, issued('/a')]).lines])).toMatchObject({ unsigned: 2 })
    const later = chainOf([START, issued('/a')], { seq: 6, hash: 'ab'.repeat(32) })
    expect(check([later.lines])).toMatchObject({ first: 7, unsigned: 2, signedUpTo: 0 })
  })

  test('counts a checkpoint of the very first record', () => {
    const { lines } = chainOf([START, 'checkpoint'])
    expect(check([lines])).toMatchObject({ checkpoints: 1, signedUpTo: 1, unsigned: 0 })
  })

  test('names each key once', () => {
    const { lines } = chainOf([START, 'checkpoint', issued('/a'), 'checkpoint'])
    expect(check([lines])).toMatchObject({ checkpoints: 2, keys: [expect.any(String)] })
  })

  test('names the last file, and how many records there are, where something is missing', () => {
    const second = chainOf([START, issued('/e')], whole.head)
    const third = chainOf([START, issued('/f')], second.head)
    const files = [whole.lines, second.lines, third.lines]
    const place = { file: 'file2', line: 10 }
    const end = { hash: third.head.hash, last: true }
    expect(check(files, { head: end }).broken).toBeUndefined()
    for (const last of [true, false]) {
      const head = { hash: 'ab'.repeat(32), last }
      expect(check(files, { head }).broken).toMatchObject(place)
    }
    const unsigned = [chainOf([START]).lines, chainOf([START], chainOf([START]).head).lines]
    expect(check(unsigned, { key: publicKey }).broken).toMatchObject({ file: 'file1', line: 2 })
    expect(check([], { key: publicKey }).broken).toMatchObject({ file: '', line: 0 })
    expect(check([], { head: { hash: '', last: false } }).broken).toMatchObject({ file: '' })
  })

  test('says what is wrong with a line and with a checkpoint', () => {
    const reason = (lines: readonly string[]) => check([lines]).broken?.reason
    expect(reason(['x'])).toBe('not a whole record, or altered: its hash differs')
    const { lines } = chainOf([START, { event: 'chain.checkpoint', checkpoint: {} }])
    expect(reason(lines)).toBe('a checkpoint that is none')
  })

  test('is not that it is broken if a file cannot be read', () => {
    const lines = (function* () {
      yield whole.lines[0] ?? ''
      throw new TypeError('the disk')
    })()
    expect(() => verifyAudit([{ name: 'x', lines }], {})).toThrow(TypeError)
  })
})

describe('rotated files', () => {
  const second = chainOf([START, issued('/e'), 'checkpoint'], whole.head)
  const third = chainOf([START, issued('/f')], second.head)

  test('may be empty if those behind them go on: an agent was killed before its first record', () => {
    expect(check([whole.lines, [], second.lines, [], [], third.lines])).toMatchObject({
      records: 11,
      broken: undefined,
    })
    expect(check([[], whole.lines]).broken).toBeUndefined()
    // Records may have been in it.
    expect(check([whole.lines, [], third.lines]).broken?.reason).toMatch(/does not continue/)
    const last = { file: 'file1', line: 0, reason: 'the file is empty' }
    expect(check([whole.lines, []]).broken).toEqual(last)
  })

  test('continue each other, and may be given from any of them on', () => {
    expect(check([whole.lines, second.lines, third.lines])).toMatchObject({
      records: 11,
      checkpoints: 2,
      broken: undefined,
    })
    expect(check([second.lines, third.lines])).toMatchObject({ first: 7, broken: undefined })
  })

  test('in another order, or without one of them, are broken', () => {
    expect(check([second.lines, whole.lines]).broken).toMatchObject({ file: 'file1', line: 1 })
    expect(check([whole.lines, third.lines]).broken).toMatchObject({ file: 'file1', line: 1 })
  })

  test('without their beginning, or with two in one file, are broken', () => {
    expect(check([whole.lines, second.lines.slice(1)]).broken?.reason).toMatch(/beginning/)
    expect(check([[...whole.lines, ...second.lines]]).broken).toMatchObject({
      line: 7,
      reason: 'a second beginning in one file',
    })
  })
})

describe('with the key that must have signed', () => {
  const key = publicKey
  const reasonOf = (...files: (readonly string[])[]) => check(files, { key }).broken?.reason
  const NONE = 'no checkpoint signs a record of these files: anybody could have made them'

  test('a chain from which all checkpoints were cut, linked anew, is broken', () => {
    const records = whole.lines.map((line): Fields => {
      const { seq: _seq, prev: _prev, hash: _hash, ...fields } = JSON.parse(line)
      return fields
    })
    const cut = chainOf(records.filter(({ event }) => event !== 'chain.checkpoint'))
    expect(check([cut.lines]).broken).toBeUndefined()
    expect(reasonOf(cut.lines)).toBe(NONE)
  })

  test('a chain of invented records alone is broken', () => {
    expect(reasonOf(chainOf([START, issued('/invented')]).lines)).toBe(NONE)
  })

  test('invented records that begin anywhere, behind genuine checkpoints, are broken', () => {
    const genuine = JSON.parse(whole.lines[3] ?? '')
    const replayed = { event: 'chain.checkpoint', checkpoint: genuine.checkpoint }
    const records = [START, issued('/invented'), replayed]
    const anywhere = chainOf(records, { seq: 100_000, hash: 'ef'.repeat(32) })
    expect(check([anywhere.lines], { key })).toMatchObject({
      checkpoints: 0,
      broken: { file: 'file0', line: 3, reason: NONE },
    })
    // Even if the first continues what was signed: that stands for nothing after it.
    const behind = chainOf(records, genuine.checkpoint.of)
    expect(check([behind.lines], { key })).toMatchObject({
      checkpoints: 1,
      broken: { reason: NONE },
    })
    const elsewhere = chainOf(records, { ...genuine.checkpoint.of, hash: 'ef'.repeat(32) })
    expect(check([elsewhere.lines], { key })).toMatchObject({ checkpoints: 0 })
  })

  test('a file alone is whole when one of its own records is signed', () => {
    const second = chainOf(
      [START, checkpoint(whole.head, privateKey), issued('/e'), 'checkpoint'],
      whole.head,
    )
    expect(check([second.lines], { key })).toMatchObject({
      ...{ first: 7, checkpoints: 2, signedUpTo: 9, unsigned: 0, broken: undefined },
    })
  })

  test('a checkpoint of a file that is not given counts only where the first record continues it', () => {
    const earlier = checkpoint({ seq: 3, hash: 'ab'.repeat(32) }, privateKey)
    const second = chainOf([START, earlier, issued('/e'), 'checkpoint'], whole.head)
    expect(check([second.lines], { key })).toMatchObject({ checkpoints: 1, broken: undefined })
    const otherNumber = checkpoint({ ...whole.head, seq: 3 }, privateKey)
    const third = chainOf([START, otherNumber, issued('/e'), 'checkpoint'], whole.head)
    expect(check([third.lines], { key })).toMatchObject({ checkpoints: 1, broken: undefined })
  })

  test('it is said how many records at the end are not signed', () => {
    expect(check([whole.lines], { key })).toMatchObject({ unsigned: 2, broken: undefined })
    expect(check([whole.lines.slice(0, 4)], { key })).toMatchObject({ unsigned: 0 })
    const late = chainOf([START, issued('/a')])
    const lines = [
      ...late.lines,
      ...chainOf([issued('/b'), checkpoint(late.head, privateKey)], late.head).lines,
    ]
    expect(check([lines], { key })).toMatchObject({ signedUpTo: 2, unsigned: 2 })
  })

  test('an expected head stands for the records before it as a signature does', () => {
    const hash = JSON.parse(whole.lines[4] ?? '').hash
    expect(check([whole.lines], { key, head: { hash, last: false } })).toMatchObject({
      unsigned: 1,
    })
  })
})

describe('the first record of a chain', () => {
  test('continues nothing', () => {
    const { lines } = chainOf([START, issued('/a')], { seq: 0, hash: 'ef'.repeat(32) })
    expect(check([lines]).broken).toMatchObject({ line: 1 })
  })

  test('beyond the numbers that can be told apart is none', () => {
    const { lines } = chainOf([START], { seq: 2 ** 53 - 1, hash: 'ef'.repeat(32) })
    expect(check([lines]).broken).toMatchObject({ line: 1 })
  })
})

test('a checkpoint signs its label, the hash and the number, as they are documented', () => {
  const message = checkpointMessage({ seq: 258, hash: 'ab'.repeat(32) })
  expect(message.toString('latin1', 0, 28)).toBe('metabind audit checkpoint v1')
  expect(message.toString('hex', 28)).toBe(`${'ab'.repeat(32)}0000000000000102`)
})

describe('a checkpoint', () => {
  const before = chainOf([START, issued('/a')])
  const withCheckpoint = (fields: Fields) => [
    ...before.lines,
    ...chainOf([fields], before.head).lines,
  ]

  test('signed with another key than the one given is found', () => {
    const lines = withCheckpoint(checkpoint(before.head, other.privateKey))
    expect(check([lines]).broken).toBeUndefined()
    expect(check([lines], { key: publicKey }).broken?.reason).toMatch(/another key/)
  })

  test('with a wrong signature is found', () => {
    const good = checkpoint(before.head, privateKey).checkpoint as { signature: string }
    const signature = Buffer.from(good.signature, 'base64')
    signature[5] = (signature[5] ?? 0) ^ 1
    const forged = { ...good, signature: signature.toString('base64') }
    const lines = withCheckpoint({ event: 'chain.checkpoint', checkpoint: forged })
    expect(check([lines]).broken?.reason).toBe("the checkpoint's signature is wrong")
  })

  test('of a chain written anew with the key of none is found', () => {
    const forgedHead = { seq: before.head.seq, hash: 'cd'.repeat(32) }
    const lines = withCheckpoint(checkpoint(forgedHead, privateKey))
    expect(check([lines]).broken?.reason).toMatch(/another record/)
  })

  test.each([undefined, {}, { of: before.head, key: 'AAAA', signature: 'AAAA' }])(
    'is not %j',
    (value) => {
      const lines = withCheckpoint({ event: 'chain.checkpoint', checkpoint: value })
      expect(check([lines]).broken?.line).toBe(3)
    },
  )

  test.each([
    ['hash', (text: string) => `x${text}`],
    ['hash', (text: string) => `${text}x`],
    ['key', (text: string) => `*${text}`],
    ['key', (text: string) => `${text}*`],
    ['signature', (text: string) => `*${text}`],
    ['signature', (text: string) => `${text}*`],
  ] as const)('has a %s of its form', (member, change) => {
    const { checkpoint: good } = checkpoint(before.head, privateKey) as unknown as {
      checkpoint: { of: ChainHead; key: string; signature: string }
    }
    const changed =
      member === 'hash'
        ? { ...good, of: { ...good.of, hash: change(good.of.hash) } }
        : { ...good, [member]: change(good[member]) }
    const lines = withCheckpoint({ event: 'chain.checkpoint', checkpoint: changed })
    expect(check([lines]).broken?.reason).toBe('a checkpoint that is none')
  })

  test('that is given twice, or is older than the last, is found', () => {
    const once = chainOf([START, issued('/a'), 'checkpoint', issued('/b')])
    const again = chainOf([checkpoint(before.head, privateKey)], once.head)
    expect(check([[...once.lines, ...again.lines]]).broken).toMatchObject({
      line: 5,
      reason: 'the checkpoint is older than the last',
    })
    const outside = checkpoint({ seq: 9, hash: 'ab'.repeat(32) }, privateKey)
    const { lines } = chainOf([START, outside, outside], { seq: 9, hash: 'ab'.repeat(32) })
    expect(check([lines]).broken).toMatchObject({ line: 3 })
  })

  test('of a record that is not there yet, or before the file with a wrong signature, is found', () => {
    const ahead = withCheckpoint(checkpoint({ seq: 4, hash: 'ab'.repeat(32) }, privateKey))
    expect(check([ahead]).broken?.reason).toMatch(/another record/)
    const good = checkpoint({ seq: 2, hash: 'ab'.repeat(32) }, privateKey).checkpoint as object
    const forged = { ...good, of: { seq: 3, hash: 'ab'.repeat(32) } }
    const lines = chainOf([START, { event: 'chain.checkpoint', checkpoint: forged }], whole.head)
    expect(check([lines.lines]).broken?.reason).toBe("the checkpoint's signature is wrong")
  })

  test.each([
    ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['another curve', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['Ed25519', generateKeyPairSync('ed25519')],
  ])('of a key of another kind is none: %s', (_kind, pair) => {
    const key = pair.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
    const hash = pair.publicKey.asymmetricKeyType === 'ed25519' ? null : 'sha256'
    const signing = { key: pair.privateKey, dsaEncoding: 'ieee-p1363' } as const
    const signature = sign(hash, checkpointMessage(before.head), signing).toString('base64')
    const fields = { of: before.head, key, signature }
    const lines = withCheckpoint({ event: 'chain.checkpoint', checkpoint: fields })
    const reason = 'the checkpoint names no P-256 key'
    expect(check([lines]).broken).toMatchObject({ line: 3, reason })
    expect(check([lines], { key: pair.publicKey }).broken).toMatchObject({ line: 3, reason })
  })
})
