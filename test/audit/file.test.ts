import { execFileSync } from 'node:child_process'
import {
  chownSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  CHAIN_ORIGIN,
  encodeLine,
  LINE_BYTES_MAX,
  LINE_READ_BYTES_MAX,
} from '../../src/audit/chain.ts'
import { openChainHeadFile } from '../../src/audit/chain-head-file.ts'
import { type AuditFile, openAuditFile } from '../../src/audit/file.ts'
import { AUDIT_QUEUE_BYTES_MAX } from '../../src/audit/queue.ts'
import { verifyAudit } from '../../src/audit/verify.ts'
import type { MetabindError } from '../../src/errors.ts'
import { AGENT, NAMELESS, ROOT } from '../../src/shares.ts'
import { NOBODY } from '../harness/as-uid.ts'
import { openBelow } from '../harness/open-below.ts'
import { requireRoot } from '../harness/root.ts'

let directory: string
let path: string
let faults: MetabindError[]
let lost: number

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'metabind-'))
  path = join(directory, 'audit.log')
  faults = []
  lost = 0
})

afterEach(() => rmSync(directory, { recursive: true }))

const open = (): AuditFile =>
  openAuditFile(path, {
    onFault: (error) => faults.push(error),
    onLost: () => {
      lost += 1
    },
  })
const recordsIn = (name: string): { event: string }[] =>
  readFileSync(name, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
const record = { time: '2026-01-01T00:00:00.000Z', event: 'token.issued' }
const verdict = () =>
  verifyAudit([{ name: path, lines: readFileSync(path, 'latin1').split('\n').slice(0, -1) }], {})

test('a record that comes when the file is closed is not written to what has its number now', async () => {
  const file = open()
  await file.flush()
  await file.close()
  // The lowest free number, which was the file's.
  const other = join(directory, 'other')
  const descriptors = Array.from({ length: 16 }, () => openSync(other, 'a'))
  file.append(record, AGENT)
  await file.flush()
  for (const descriptor of descriptors) expect(() => closeSync(descriptor)).not.toThrow()
  expect(readFileSync(other, 'utf8')).toBe('')
  expect(recordsIn(path).map(({ event }) => event)).toEqual(['chain.start'])
})

const eventsIn = () => recordsIn(path).map(({ event }) => event)

test('its beginning, each record and each rotation get there by themselves, soon', async () => {
  const file = open()
  await expect.poll(eventsIn).toEqual(['chain.start'])
  expect(file.append(record, AGENT).isInDoubt).toBe(false)
  await expect.poll(eventsIn).toEqual(['chain.start', 'token.issued'])
  renameSync(path, `${path}.1`)
  file.rotate()
  await expect.poll(() => existsSync(path) && eventsIn()).toEqual(['chain.start'])
  await file.close()
})

test('a record is in no doubt before anything was written', async () => {
  const file = open()
  expect(file.append(record, AGENT)).toEqual({ seq: 2, isInDoubt: false })
  await file.close()
})

test('a rotation while the file is in its place is told in it, and is no second beginning', async () => {
  const file = open()
  file.append(record, AGENT)
  await file.flush()
  file.rotate()
  file.append(record, AGENT)
  await file.flush()
  const events = ['chain.start', 'token.issued', 'chain.reopened', 'token.issued']
  expect(eventsIn()).toEqual(events)
  expect(openBelow(directory)).toEqual([path])
  await file.close()
  expect(openBelow(directory)).toEqual([])
  expect(verdict()).toMatchObject({ records: 4, broken: undefined })
})

/** A disk that is full after so many bytes: setrlimit(2), RLIMIT_FSIZE, of this process. */
function diskHolds(bytes: number | 'unlimited'): void {
  execFileSync('prlimit', [`--pid=${process.pid}`, `--fsize=${bytes}:unlimited`])
}

describe('a full disk', () => {
  afterEach(() => diskHolds('unlimited'))

  test('loses nothing that fits the queue', async () => {
    const file = open()
    await file.flush()
    diskHolds(4096)
    for (let count = 0; count < 100; count += 1) file.append(record, 'uid 1000')
    await file.flush()
    expect(faults.map(({ code }) => code)).toEqual(['DIRECTORY_FAULT'])
    // What part of the batch was written has been cut off again.
    expect(verdict()).toMatchObject({ records: 1, broken: undefined })
    diskHolds('unlimited')
    await file.close()
    expect(verdict()).toMatchObject({ records: 101, lost: 0, broken: undefined })
    expect(lost).toBe(0)
  })

  test('is reported once, bounds what waits, and leaves a gap with its size in the chain', async () => {
    const file = open()
    await file.flush()
    diskHolds(1)
    for (let count = 0; count < 20_000; count += 1) file.append(record, 'uid 1000')
    await file.flush()
    await file.flush()
    expect(faults).toHaveLength(1)
    expect(lost).toBeGreaterThan(20_000 - AUDIT_QUEUE_BYTES_MAX / 250)
    diskHolds('unlimited')
    await file.flush()
    file.append(record, 'uid 1000')
    await file.close()
    expect(verdict()).toMatchObject({
      records: 1 + (20_000 - lost) + 1 + 1,
      lost,
      head: { seq: 1 + 20_000 + 1 + 1 },
      broken: undefined,
    })
  })

  test('is tried again by itself, a second later', async () => {
    const file = open()
    await file.flush()
    diskHolds(1)
    for (let count = 0; count < 2; count += 1) {
      file.append(record, 'uid 1000')
      await file.flush()
    }
    diskHolds('unlimited')
    await expect.poll(() => recordsIn(path).length, { interval: 50 }).toBe(3)
    expect(faults).toHaveLength(1)
    await file.close()
  })

  test('leaves in doubt what is appended until it can be written again', async () => {
    const file = open()
    await file.flush()
    expect(file.append(record, 'uid 1000').isInDoubt).toBe(false)
    await file.flush()
    diskHolds(1)
    file.append(record, 'uid 1000')
    await file.flush()
    expect(file.append(record, 'uid 1000').isInDoubt).toBe(true)
    diskHolds('unlimited')
    await file.flush()
    expect(file.append(record, 'uid 1000').isInDoubt).toBe(false)
    await file.close()
  })

  test('full of one user’s records takes those of others, of root and of the agent', async () => {
    const file = open()
    await file.flush()
    diskHolds(1)
    for (let count = 0; count < 20_000; count += 1) file.append(record, 'uid 1000')
    const lostOfFlood = lost
    const others = ['uid 1001', ROOT, AGENT, NAMELESS]
    const events = others.map((owner) => `of ${owner}`)
    for (let count = 0; count < 100; count += 1) {
      for (const owner of others) file.append({ ...record, event: `of ${owner}` }, owner)
      file.append(record, 'uid 1000')
    }
    expect(lostOfFlood).toBeGreaterThan(0)
    expect(lost).toBe(lostOfFlood + 100)
    diskHolds('unlimited')
    await file.close()
    expect(verdict()).toMatchObject({ lost, broken: undefined })
    const written = recordsIn(path).map(({ event }) => event)
    for (const event of events) expect(written.filter((one) => one === event)).toHaveLength(100)
  })
})

describe('a file that is not the agent’s alone is refused at start', () => {
  const opening = (code: string) => expect(open).toThrow(expect.objectContaining({ code }))

  test('open to others', () => {
    writeFileSync(path, '', { mode: 0o640 })
    opening('DIRECTORY_UNSAFE')
  })

  test('a symbolic link', () => {
    symlinkSync(join(directory, 'elsewhere'), path)
    opening('DIRECTORY_FAULT')
  })

  test('a pipe', () => {
    execFileSync('mkfifo', ['-m', '600', path])
    opening('DIRECTORY_UNSAFE')
  })

  test('of another owner', (context) => {
    requireRoot(context, 'a file is given to another user')
    writeFileSync(path, '', { mode: 0o600 })
    chownSync(path, NOBODY, NOBODY)
    opening('DIRECTORY_UNSAFE')
  })

  test('in no directory', () => {
    path = join(directory, 'absent', 'audit.log')
    opening('DIRECTORY_FAULT')
  })
})

test('a chain whose last line is foreign goes on, and the verifier finds the line', async () => {
  writeFileSync(path, 'not a record\n', { mode: 0o600 })
  const file = open()
  file.append(record, 'uid 1000')
  await file.close()
  expect(verdict().broken).toMatchObject({ line: 1 })
})

test('a line that a crash has cut is removed, and a record says how much it was', async () => {
  const first = open()
  first.append(record, 'uid 1000')
  await first.close()
  writeFileSync(path, '{"seq":3,"prev":', { flag: 'a' })
  const second = open()
  await second.close()
  const torn = { event: 'chain.torn', cutBytes: 16 }
  expect(recordsIn(path)).toMatchObject([{ event: 'chain.start' }, record, torn])
  expect(verdict()).toMatchObject({ records: 3, broken: undefined })
})

test('records appended together keep their order and numbers', async () => {
  const file = open()
  const numbers = Array.from({ length: 1000 }, () => file.append(record, 'uid 1000').seq)
  await file.close()
  expect(numbers).toEqual(Array.from({ length: 1000 }, (_, at) => at + 2))
  expect(verdict()).toMatchObject({ records: 1001, broken: undefined })
})

describe('a file that was renamed', () => {
  const moved = () => `${path}.1`
  const whole = () =>
    verifyAudit(
      [moved(), path].map((name) => ({
        name,
        lines: readFileSync(name, 'latin1').split('\n').slice(0, -1),
      })),
      {},
    )
  const append = (file: AuditFile) => file.append(record, 'uid 1000')

  test('and made anew goes on in the new one', async () => {
    const file = open()
    append(file)
    await file.flush()
    renameSync(path, moved())
    writeFileSync(path, '', { mode: 0o600 })
    // It is seen when the next record is written.
    append(file)
    await file.flush()
    append(file)
    await file.close()
    expect(whole()).toMatchObject({ records: 5, broken: undefined })
    expect(recordsIn(path)).toHaveLength(2)
  })

  test.each([
    ['by somebody else', (at: string) => chownSync(at, NOBODY, NOBODY)],
    ['as a link', (at: string) => [unlinkSync(at), symlinkSync(moved(), at)]],
    ['as a pipe', (at: string) => [unlinkSync(at), execFileSync('mkfifo', ['-m', '600', at])]],
  ])(
    'and made anew %s is not written to; the records wait, and begin the next',
    async (how, plant) => {
      if (how === 'by somebody else' && process.getuid?.() !== 0) return
      const file = open()
      append(file)
      await file.flush()
      renameSync(path, moved())
      writeFileSync(path, '', { mode: 0o600 })
      plant(path)
      append(file)
      await file.flush()
      append(file)
      for (let tries = 0; tries < 5; tries += 1) await file.flush()
      file.rotate()
      await file.flush()
      expect(faults.map(({ code }) => code)).toEqual(['DIRECTORY_FAULT'])
      expect(recordsIn(moved())).toHaveLength(3)
      unlinkSync(path)
      await file.close()
      // One beginning, however often it was tried.
      expect(recordsIn(path).map(({ event }) => event)).toEqual(['chain.start', 'token.issued'])
      expect(whole()).toMatchObject({ records: 5, broken: undefined })
    },
  )
})

describe('the longest line', () => {
  const long = (bytes: number) => ({ ...record, detail: 'x'.repeat(bytes) })

  test('is written, and continued by the next process', async () => {
    const first = open()
    const own = JSON.stringify(long(0)).length
    // What is around a record: number, two hashes and their names.
    first.append(long(LINE_BYTES_MAX - 256 - own), 'uid 1000')
    await first.close()
    expect(
      Math.max(
        ...readFileSync(path, 'utf8')
          .split('\n')
          .map((line) => line.length),
      ),
    ).toBeGreaterThan(LINE_BYTES_MAX - 256)
    const second = open()
    second.append(record, 'uid 1000')
    await second.close()
    expect(verdict()).toMatchObject({ records: 3, broken: undefined })
  })

  test('is the longest: of a record that would make a longer one, only that it was is written', async () => {
    const file = open()
    file.append(long(LINE_BYTES_MAX), 'uid 1000')
    await file.close()
    expect(recordsIn(path)[1]).toMatchObject({
      event: 'token.issued',
      leftOutBytes: JSON.stringify(long(LINE_BYTES_MAX)).length,
    })
    expect(verdict()).toMatchObject({ records: 2, broken: undefined })
  })

  test('that was written under another bound is continued all the same', async () => {
    const { text } = encodeLine(
      CHAIN_ORIGIN.hash,
      1,
      JSON.stringify({ event: 'chain.start', of: 'x'.repeat(LINE_READ_BYTES_MAX / 2) }),
    )
    writeFileSync(path, `${text}\n`, { mode: 0o600 })
    const file = open()
    file.append(record, 'uid 1000')
    await file.close()
    expect(verdict()).toMatchObject({ records: 2, broken: undefined })
  })
})

describe('the kept head', () => {
  const openBoth = () => {
    const headFile = openChainHeadFile(directory, path, (error) => faults.push(error))
    return {
      file: openAuditFile(
        path,
        { onFault: (error) => faults.push(error), onLost: () => undefined },
        headFile,
      ),
      headFile,
    }
  }
  const run = async () => {
    const { file, headFile } = openBoth()
    file.append(record, 'uid 1000')
    await file.close()
    headFile.close()
  }

  test('goes on in a new file where the last one was renamed while no agent ran', async () => {
    await run()
    renameSync(path, `${path}.1`)
    await run()
    await run()
    const files = [`${path}.1`, path].map((name) => ({
      name,
      lines: readFileSync(name, 'latin1').split('\n').slice(0, -1),
    }))
    expect(verifyAudit(files, {})).toMatchObject({ records: 5, broken: undefined })
    expect(faults).toEqual([])
  })

  test('may be older than the renamed file, of an agent killed before it kept the end', async () => {
    await run()
    const kept = readFileSync(join(directory, 'audit-head'))
    await run()
    writeFileSync(join(directory, 'audit-head'), kept, { mode: 0o600 })
    writeFileSync(`${path}.0`, 'another file\n')
    renameSync(path, `${path}.1`)
    await run()
    const files = [`${path}.1`, path].map((name) => ({
      name,
      lines: readFileSync(name, 'latin1').split('\n').slice(0, -1),
    }))
    expect(verifyAudit(files, {})).toMatchObject({ records: 5, broken: undefined })
    expect(faults).toEqual([])
  })

  test('counts for nothing where the file is there: the file says where it ends', async () => {
    await run()
    const kept = readFileSync(join(directory, 'audit-head'))
    await run()
    writeFileSync(join(directory, 'audit-head'), kept, { mode: 0o600 })
    await run()
    expect(verdict()).toMatchObject({ records: 4, broken: undefined })
  })

  test('is that of one file: another begins a chain of its own', async () => {
    await run()
    path = join(directory, 'other.log')
    await run()
    expect(verdict()).toMatchObject({ first: 1, records: 2, broken: undefined })
  })

  test('that is damaged is reported, replaced, and begins a chain', async () => {
    await run()
    unlinkSync(path)
    writeFileSync(join(directory, 'audit-head'), '{"version":1}', { mode: 0o600 })
    await run()
    expect(faults.map(({ code }) => code)).toEqual(['KEPT_UNUSABLE'])
    expect(verdict()).toMatchObject({ first: 1, broken: undefined })
    await run()
    expect(faults).toHaveLength(1)
  })

  test.each(['x', ''])(
    'whose hash has more than a hash is damaged: %j behind it or before',
    (end) => {
      const hash = end === '' ? `x${'ab'.repeat(32)}` : `${'ab'.repeat(32)}${end}`
      const file = 'cd'.repeat(32)
      const text = JSON.stringify({ version: 1, file, seq: 1, hash })
      writeFileSync(join(directory, 'audit-head'), text, { mode: 0o600 })
      openChainHeadFile(directory, path, (error) => faults.push(error))
      expect(faults.map(({ code }) => code)).toEqual(['KEPT_UNUSABLE'])
    },
  )

  test('that is a link or open to others stops the agent at start', async () => {
    const head = join(directory, 'audit-head')
    symlinkSync(join(directory, 'elsewhere'), head)
    expect(openBoth).toThrow(expect.objectContaining({ code: 'DIRECTORY_UNSAFE' }))
    unlinkSync(head)
    writeFileSync(head, '', { mode: 0o644 })
    expect(openBoth).toThrow(expect.objectContaining({ code: 'DIRECTORY_UNSAFE' }))
  })

  test('that was written in part is reported', async () => {
    const headFile = openChainHeadFile(directory, path, (error) => faults.push(error))
    await headFile.write({ seq: 1, hash: 'ab'.repeat(32) })
    diskHolds(100)
    await headFile.write({ seq: 2, hash: 'cd'.repeat(32) })
    diskHolds('unlimited')
    expect(faults.map(({ code }) => code)).toEqual(['DIRECTORY_FAULT'])
    await headFile.write({ seq: 2, hash: 'cd'.repeat(32) })
    headFile.close()
    const again = openChainHeadFile(directory, path, (error) => faults.push(error))
    expect(again.head).toEqual({ seq: 2, hash: 'cd'.repeat(32) })
    expect(faults).toHaveLength(1)
  })

  test('is the last that was written, however often', async () => {
    const headFile = openChainHeadFile(directory, path, (error) => faults.push(error))
    for (const seq of [1, 2, 30]) await headFile.write({ seq, hash: 'ab'.repeat(32) })
    headFile.close()
    const again = openChainHeadFile(directory, path, (error) => faults.push(error))
    expect([again.head?.seq, faults]).toEqual([30, []])
    expect(() => again.close()).not.toThrow()
    expect(openBelow(directory)).toEqual([])
  })

  test('that cannot be written at all is reported, once', async () => {
    const headFile = openChainHeadFile(join(directory, 'gone'), path, (one) => faults.push(one))
    for (const seq of [1, 2]) await headFile.write({ seq, hash: 'ab'.repeat(32) })
    expect(faults.map(({ code }) => code)).toEqual(['DIRECTORY_FAULT'])
  })

  test('that cannot be written stops no record, and is reported once', async () => {
    const { file, headFile } = openBoth()
    await file.flush()
    rmSync(join(directory, 'audit-head'))
    headFile.close()
    for (let count = 0; count < 3; count += 1) {
      file.append(record, 'uid 1000')
      await file.flush()
    }
    await file.close()
    expect(faults.map(({ code }) => code)).toEqual(['DIRECTORY_FAULT'])
    expect(verdict()).toMatchObject({ records: 4, broken: undefined })
  })
})
