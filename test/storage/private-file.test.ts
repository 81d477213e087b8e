import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, type TestContext, test } from 'vitest'
import {
  createPrivateFile,
  readPrivateFile,
  removeUnnamed,
  writePrivateFile,
} from '../../src/storage/private-file.ts'
import { loadSalt } from '../../src/token/salt.ts'
import { openBelow } from '../harness/open-below.ts'
import { requireRoot } from '../harness/root.ts'

const SOURCE = new URL('../../src/storage/private-file.ts', import.meta.url).href

let directory: string
let file: string
beforeEach(() => {
  directory = mkdtempSync('/tmp/mb-private-')
  file = join(directory, 'salt')
})
afterEach(() => rmSync(directory, { recursive: true }))

const SALT = Buffer.alloc(32, 5)
const NOBODY = 65534
const put = (bytes: Buffer = SALT, mode = 0o600) => {
  writeFileSync(file, bytes)
  chmodSync(file, mode)
}

// Each is refused for what it is, before a byte of it is believed.
const UNSAFE: readonly (readonly [string, (context: TestContext) => void])[] = [
  ['readable by the group', () => put(SALT, 0o640)],
  ['readable by all', () => put(SALT, 0o604)],
  ['writable by the group', () => put(SALT, 0o620)],
  ['executable by all', () => put(SALT, 0o601)],
  [
    "another user's",
    (context) => {
      requireRoot(context, 'a file is given to another user')
      put()
      chownSync(file, NOBODY, NOBODY)
    },
  ],
  [
    'a symbolic link to a good one',
    () => {
      writeFileSync(join(directory, 'good'), SALT, { mode: 0o600 })
      symlinkSync('good', file)
    },
  ],
  ['a symbolic link to nothing', () => symlinkSync('nothing', file)],
  ['a FIFO', () => execFileSync('mkfifo', ['-m', '600', file])],
  ['a directory', () => mkdirSync(file, { mode: 0o700 })],
  ['too large', () => put(Buffer.alloc(33))],
]

describe('reading a private file', () => {
  test('there is none', () => expect(readPrivateFile(file, 32)).toBeUndefined())

  test.each([0, 1, 31, 32])('%i bytes', (length) => {
    put(Buffer.alloc(length, 9))
    expect(readPrivateFile(file, 32)).toEqual(Buffer.alloc(length, 9))
  })

  test('one that may only be read', () => {
    put(SALT, 0o400)
    expect(readPrivateFile(file, 32)).toEqual(SALT)
  })

  test.for(UNSAFE)('is refused where it is %s', ([, make], context) => {
    make(context)
    expect(() => readPrivateFile(file, 32)).toThrow(
      expect.objectContaining({ code: 'DIRECTORY_UNSAFE' }),
    )
  })

  test('is refused where the directory is a file', () => {
    put()
    expect(() => readPrivateFile(join(file, 'below'), 32)).toThrow(
      expect.objectContaining({ code: 'DIRECTORY_FAULT' }),
    )
  })
})

describe('writing a private file', () => {
  test.each([0o000, 0o022, 0o077])('is mode 0600 under umask %o', (umask) => {
    const before = process.umask(umask)
    try {
      writePrivateFile(file, SALT)
      expect(createPrivateFile(join(directory, 'other'), SALT)).toBe(true)
    } finally {
      process.umask(before)
    }
    expect(statSync(file).mode & 0o7777).toBe(0o600)
    expect(statSync(join(directory, 'other')).mode & 0o7777).toBe(0o600)
  })

  test('replaces what was there, and leaves nothing beside it', () => {
    put(Buffer.from('old'), 0o644)
    writePrivateFile(file, SALT)
    expect(readFileSync(file)).toEqual(SALT)
    expect(statSync(file).mode & 0o7777).toBe(0o600)
    expect(readdirSync(directory)).toEqual(['salt'])
  })

  test('replaces a link and not what it names', () => {
    writeFileSync(join(directory, 'victim'), 'untouched')
    symlinkSync('victim', file)
    writePrivateFile(file, SALT)
    expect(readFileSync(join(directory, 'victim'), 'utf8')).toBe('untouched')
    expect(readPrivateFile(file, 32)).toEqual(SALT)
  })

  test('does not change a file that had another name too', () => {
    put(Buffer.from('old'))
    linkSync(file, join(directory, 'second'))
    writePrivateFile(file, SALT)
    expect(readFileSync(join(directory, 'second'), 'utf8')).toBe('old')
  })

  test('creating leaves what is there', () => {
    put(Buffer.from('old'))
    expect(createPrivateFile(file, SALT)).toBe(false)
    expect(readFileSync(file, 'utf8')).toBe('old')
    expect(readdirSync(directory)).toEqual(['salt'])
  })

  test('fails where the system takes a part only, and what was there stays whole', () => {
    put(Buffer.from('old'))
    // A write over RLIMIT_FSIZE is short, as on a disk that is full; the one after it fails.
    const script = `
      import { writePrivateFile } from ${JSON.stringify(SOURCE)}
      try {
        writePrivateFile(${JSON.stringify(file)}, Buffer.alloc(8192, 7))
        process.stdout.write('written')
      } catch (error) {
        process.stdout.write(error.code)
      }`
    const node = [process.execPath, '--input-type=module', '-e', script]
    expect(execFileSync('prlimit', ['--fsize=4096', ...node], { encoding: 'utf8' })).toBe(
      'DIRECTORY_FAULT',
    )
    expect(readFileSync(file, 'utf8')).toBe('old')
    expect(readdirSync(directory)).toEqual(['salt'])
  })

  test('fails without a directory, and where the place is taken by one', () => {
    const fault = expect.objectContaining({ code: 'DIRECTORY_FAULT' })
    expect(() => writePrivateFile(join(directory, 'no', 'salt'), SALT)).toThrow(fault)
    mkdirSync(file)
    expect(() => writePrivateFile(file, SALT)).toThrow(fault)
    expect(readdirSync(directory)).toEqual(['salt'])
  })
})

test('a name that the system refuses is a fault, with nothing left beside it', () => {
  const long = join(directory, 'x'.repeat(256))
  const fault = expect.objectContaining({ code: 'DIRECTORY_FAULT' })
  expect(() => createPrivateFile(long, SALT)).toThrow(fault)
  expect(() => writePrivateFile(long, SALT)).toThrow(fault)
  expect(readdirSync(directory)).toEqual([])
})

test('no descriptor is left open, whether the file could be used or not', () => {
  put()
  readPrivateFile(file, 32)
  expect(() => readPrivateFile(file, 31)).toThrow()
  writePrivateFile(file, SALT)
  createPrivateFile(file, SALT)
  createPrivateFile(join(directory, 'other'), SALT)
  expect(openBelow(directory)).toEqual([])
})

describe('what a killed process had not given its name yet', () => {
  const NAME = '.0123456789abcdef.new'

  test('is removed, and nothing else is', () => {
    const others = ['salt', `x${NAME}`, `${NAME}x`, '.0123456789abcde.new', '.0123456789abcdeF.new']
    const folder = NAME.replace('0', '1')
    const link = NAME.replace('0', '2')
    for (const name of [NAME, ...others]) writeFileSync(join(directory, name), SALT)
    mkdirSync(join(directory, folder))
    symlinkSync('salt', join(directory, link))
    removeUnnamed(directory)
    expect(readdirSync(directory).sort()).toEqual([...others, folder, link].sort())
  })

  test('is left where there is no such directory', () => {
    expect(() => removeUnnamed(join(directory, 'gone'))).not.toThrow()
  })
})

describe('the salt', () => {
  test('is made once and then kept', () => {
    const made = loadSalt(directory).reveal()
    expect(made).toHaveLength(32)
    expect(readFileSync(file)).toEqual(made)
    expect(statSync(file).mode & 0o7777).toBe(0o600)
    expect(loadSalt(directory).reveal()).toEqual(made)
  })

  test('is another one elsewhere', () => {
    const other = mkdtempSync('/tmp/mb-private-')
    expect(loadSalt(other).reveal()).not.toEqual(loadSalt(directory).reveal())
    rmSync(other, { recursive: true })
  })

  test.each([0, 1, 16, 31])('is refused where only %i bytes were written', (length) => {
    put(Buffer.alloc(length))
    expect(() => loadSalt(directory)).toThrow(expect.objectContaining({ code: 'DIRECTORY_UNSAFE' }))
  })

  test.for(UNSAFE)('is refused where it is %s', ([, make], context) => {
    make(context)
    expect(() => loadSalt(directory)).toThrow(expect.objectContaining({ code: 'DIRECTORY_UNSAFE' }))
  })

  test('is not printed', () => {
    expect(`${loadSalt(directory)} ${JSON.stringify(loadSalt(directory))}`).toBe(
      '[secret] "[secret]"',
    )
  })
})
