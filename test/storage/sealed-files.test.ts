import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { MetabindError } from '../../src/errors.ts'
import { sealContext } from '../../src/format/instance-identity.ts'
import { Secret } from '../../src/secret.ts'
import { type SealedFiles, sealedFiles } from '../../src/storage/sealed-files.ts'
import { deriveSealKey } from '../../src/token/seal-key.ts'

const name = (byte: number) => Buffer.alloc(34, byte)
const NAMES = { dialect: 'aliyun', ekName: name(1), akName: name(2), rkName: name(3) }
const CONTEXT = sealContext(NAMES, 'boot-1')
const PLANTED = Buffer.from('planted-secret-value')

let directory: string
let problems: MetabindError[]

beforeEach(() => {
  directory = mkdtempSync('/tmp/mb-kept-')
  problems = []
})
afterEach(() => rmSync(directory, { recursive: true }))

function files(key = 7, context = CONTEXT): SealedFiles {
  const sealKey = { key: new Secret(Buffer.alloc(32, key)), context }
  return sealedFiles(directory, sealKey, (problem) => problems.push(problem))
}

const codes = () => problems.map(({ code }) => code)
const file = (which: string) => join(directory, which)

describe('what is sealed', () => {
  test('comes back to who has the key and the context', () => {
    files().write('kept-items', PLANTED)
    expect(files().read('kept-items')).toEqual(PLANTED)
    expect(codes()).toEqual([])
  })

  test('is nothing where nothing was written, without a word', () => {
    expect(files().read('kept-proof')).toBeUndefined()
    expect(codes()).toEqual([])
  })

  test('is for the agent alone, and says nothing by itself', () => {
    files().write('kept-items', PLANTED)
    expect(statSync(file('kept-items')).mode & 0o777).toBe(0o600)
    expect(readFileSync(file('kept-items')).includes(PLANTED)).toBe(false)
  })

  test('may be nothing, and comes back as that', () => {
    files().write('kept-items', Buffer.alloc(0))
    expect(files().read('kept-items')).toEqual(Buffer.alloc(0))
    expect(codes()).toEqual([])
  })

  test('is sealed anew each time', () => {
    files().write('kept-items', PLANTED)
    const first = readFileSync(file('kept-items'))
    files().write('kept-items', PLANTED)
    expect(readFileSync(file('kept-items')).equals(first)).toBe(false)
  })
})

describe('does not open', () => {
  test('with another key', () => {
    files().write('kept-items', PLANTED)
    expect(files(8).read('kept-items')).toBeUndefined()
    expect(codes()).toEqual(['KEPT_UNUSABLE'])
  })

  const others = {
    'another boot': sealContext(NAMES, 'boot-2'),
    'another EK': sealContext({ ...NAMES, ekName: name(9) }, 'boot-1'),
    'another AK': sealContext({ ...NAMES, akName: name(9) }, 'boot-1'),
    'another RK': sealContext({ ...NAMES, rkName: name(9) }, 'boot-1'),
    'another cloud': sealContext({ ...NAMES, dialect: 'ec2' }, 'boot-1'),
  }
  for (const [what, context] of Object.entries(others)) {
    test(`in the context of ${what}`, () => {
      files().write('kept-proof', PLANTED)
      expect(files(7, context).read('kept-proof')).toBeUndefined()
      expect(codes()).toEqual(['KEPT_UNUSABLE'])
    })
  }

  test('in the place of the other file', () => {
    files().write('kept-items', PLANTED)
    writeFileSync(file('kept-proof'), readFileSync(file('kept-items')), { mode: 0o600 })
    expect(files().read('kept-proof')).toBeUndefined()
    expect(codes()).toEqual(['KEPT_UNUSABLE'])
  })

  test('which is said once, and again only after it was written', () => {
    const mine = files()
    for (const _ of [1, 2]) {
      mine.write('kept-items', PLANTED)
      writeFileSync(file('kept-items'), 'damaged')
      for (const _ of [1, 2, 3]) expect(mine.read('kept-items')).toBeUndefined()
    }
    expect(codes()).toEqual(['KEPT_UNUSABLE', 'KEPT_UNUSABLE'])
  })

  test('with any one bit of it changed, or its end cut off', () => {
    files().write('kept-items', PLANTED)
    const good = readFileSync(file('kept-items'))
    for (let at = 0; at < good.length; at += 1) {
      const bad = Buffer.from(good)
      bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8))
      writeFileSync(file('kept-items'), bad)
      expect(files().read('kept-items')).toBeUndefined()
      writeFileSync(file('kept-items'), good.subarray(0, at))
      expect(files().read('kept-items')).toBeUndefined()
    }
    expect(problems.length).toBe(2 * good.length)
    writeFileSync(file('kept-items'), good)
    expect(files().read('kept-items')).toEqual(PLANTED)
  })

  test('where others could have written it', () => {
    files().write('kept-items', PLANTED)
    rmSync(file('kept-items'))
    writeFileSync(file('kept-items'), PLANTED, { mode: 0o644 })
    expect(files().read('kept-items')).toBeUndefined()
    expect(codes()).toEqual(['DIRECTORY_UNSAFE'])
  })

  test('after the key was wiped; nor is anything written', () => {
    const sealKey = { key: new Secret(Buffer.alloc(32, 7)), context: CONTEXT }
    const wiped = sealedFiles(directory, sealKey, (problem) => problems.push(problem))
    wiped.write('kept-items', PLANTED)
    wiped.clear()
    expect(() => wiped.clear()).not.toThrow()
    expect(sealKey.key.reveal().equals(Buffer.alloc(32))).toBe(true)
    expect(wiped.read('kept-items')).toBeUndefined()
    wiped.write('kept-proof', PLANTED)
    expect(files().read('kept-proof')).toBeUndefined()
    // Nor is a file looked at.
    writeFileSync(file('kept-items'), PLANTED)
    chmodSync(file('kept-items'), 0o644)
    expect(wiped.read('kept-items')).toBeUndefined()
    expect(codes()).toEqual([])
  })
})

test('a fault of the program is none of the file, and is not passed over', () => {
  const key = new Secret(Buffer.alloc(31))
  const short = sealedFiles(directory, { key, context: CONTEXT }, (one) => problems.push(one))
  expect(() => short.write('kept-items', PLANTED)).toThrow(RangeError)
  expect(codes()).toEqual([])
})

test('what cannot be written is reported and stops nothing', () => {
  const away = sealedFiles(
    join(directory, 'gone'),
    { key: new Secret(Buffer.alloc(32, 7)), context: CONTEXT },
    (problem) => problems.push(problem),
  )
  away.write('kept-items', PLANTED)
  expect(codes()).toEqual(['DIRECTORY_FAULT'])
})

describe('the sealing key', () => {
  const salt = new Secret(Buffer.alloc(32, 1))
  const roots = (root: number, boot: number) => async (messages: readonly Buffer[]) =>
    messages.map(() => ({ fromRoot: Buffer.alloc(32, root), fromBoot: Buffer.alloc(32, boot) }))
  const keyOf = async (root: number, boot: number, from = salt) =>
    (await deriveSealKey(roots(root, boot), CONTEXT, from)).key.reveal().toString('hex')

  test('differs by root, by boot and by salt, and is the same from the same', async () => {
    const same = [await keyOf(1, 2), await keyOf(1, 2)]
    const other = new Secret(Buffer.alloc(32, 2))
    const all = [...same, await keyOf(3, 2), await keyOf(1, 3), await keyOf(1, 2, other)]
    expect(same[0]).toBe(same[1])
    expect(new Set(all).size).toBe(4)
  })

  test('is asked for under a label of its own, in its context', async () => {
    const asked: Buffer[] = []
    await deriveSealKey(
      async (messages) => {
        asked.push(...messages)
        return roots(1, 2)(messages)
      },
      CONTEXT,
      salt,
    )
    expect(asked).toEqual([Buffer.concat([Buffer.from('metabind seal key v1'), CONTEXT])])
  })
})
