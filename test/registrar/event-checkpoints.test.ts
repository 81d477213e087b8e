import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { jwkThumbprint } from '../../src/format/public-jwk.ts'
import { CHECKPOINT_SCHEDULE, eventCheckpoints } from '../../src/registrar/event-checkpoints.ts'
import { keyRing } from '../../src/registrar-keys/key-ring.ts'
import { masterKey } from '../../src/registrar-keys/master-key.ts'
import { sealedKeys } from '../../src/registrar-keys/sealed-keys.ts'
import { chainedLines } from '../../src/registrar-repository/event-chain.ts'
import { type KnownOfEvents, verifyEvents } from '../../src/registrar-repository/event-verdict.ts'
import { restore } from '../../src/registrar-repository/sqlite-backup.ts'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { Secret } from '../../src/secret.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { NOW_MS } from './enrolled.ts'

/** What is signed of the chain of events, and what somebody can do who writes the database and has no key. */

const URL_OF_REGISTRAR = 'https://registrar.example'
const EVERY_MS = 600_000
const DAY_MS = 86_400_000

let stack: AsyncDisposableStack
let database: string
let nowMs: number
let master: ReturnType<typeof masterKey>
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  database = join(stack.use(await scratchDirectory()).path, 'registrar.db')
  nowMs = NOW_MS
  master = masterKey(new Secret(randomBytes(32)))
})
afterEach(() => stack.disposeAsync())

/** One more process on the same database. */
async function replica(path = database, under = master) {
  const repository = sqliteRepository(path)
  let isOpen = true
  const close = async () => {
    if (isOpen) await repository.close()
    isOpen = false
  }
  stack.defer(close)
  const keys = keyRing({
    ...{ repository, store: sealedKeys(under), schedule: CHECKPOINT_SCHEDULE },
    ...{ kinds: ['checkpoint'], nowMs: () => nowMs },
  })
  await keys.refresh()
  const told: string[] = []
  const checkpoints = eventCheckpoints({
    ...{ url: URL_OF_REGISTRAR, repository, keys, everyMs: EVERY_MS, nowMs: () => nowMs },
    onSigned: ({ jws }) => told.push(jws),
  })
  return { repository, keys, checkpoints, told, close }
}

type Replica = Awaited<ReturnType<typeof replica>>

async function happen({ repository }: Replica, count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) {
    await repository.commit({ instances: [], events: [{ event: 'test', at }] }, nowMs)
  }
}

/** What whoever writes the database does. */
function tamper(sql: string): void {
  const opened = new DatabaseSync(database)
  opened.exec(sql)
  opened.close()
}

/** Another chain in the place of the one that is there, whole by itself. */
function rewrite(events: number): void {
  const made = Array.from({ length: events }, () => ({ event: 'forged' }))
  const opened = new DatabaseSync(database)
  opened.exec('DELETE FROM events')
  for (const { head, text } of chainedLines(undefined, made, NOW_MS)) {
    opened.prepare('INSERT INTO events VALUES (?, ?, ?)').run(head.seq, head.hash, text)
  }
  opened.close()
}

const keptAs = (...texts: string[]) =>
  texts.map((text, at) => ({ file: 'kept', line: at + 1, text }))
const verdict = ({ repository }: Replica, known: Partial<KnownOfEvents> = {}) =>
  verifyEvents(repository, { url: URL_OF_REGISTRAR, kept: [], kids: undefined, ...known })
const kidOf = ({ keys }: Replica) => keys.signing('checkpoint').kid
const notSigned = expect.objectContaining({ code: 'REGISTRAR_EVENTS' })

test('the end is signed, again when there is more and the time has come, and at the end at once', async () => {
  const one = await replica()
  await one.checkpoints.sign('now')
  expect(one.told).toEqual([])
  await happen(one, 2)
  await one.checkpoints.sign('due')
  await one.checkpoints.sign('now')
  expect(one.told).toHaveLength(1)
  await happen(one, 1)
  nowMs += EVERY_MS - 1
  await one.checkpoints.sign('due')
  expect(one.told).toHaveLength(1)
  nowMs += 1
  await one.checkpoints.sign('due')
  await happen(one, 1)
  await one.checkpoints.sign('now')
  expect(one.told).toHaveLength(3)
  const stored = await one.repository.checkpoints(0, 10)
  expect(stored.map(({ jws }) => jws)).toEqual(one.told)
  expect(stored.map(({ seq }) => seq)).toEqual([3, 4, 5])
  expect(await one.repository.lastCheckpoint()).toEqual(stored.at(-1))
  expect(await verdict(one, { kept: keptAs(...one.told), kids: [kidOf(one)] })).toMatchObject({
    ...{ records: 5, first: 1, checkpoints: 6, signedUpTo: 5, unsigned: 0 },
    ...{ keys: [kidOf(one)], broken: undefined },
  })
  await happen(one, 2)
  expect(await verdict(one)).toMatchObject({ signedUpTo: 5, unsigned: 2, broken: undefined })
})

test('a clock that was ahead holds up no checkpoint', async () => {
  const one = await replica()
  await happen(one, 1)
  nowMs += DAY_MS
  await one.checkpoints.sign('due')
  nowMs -= DAY_MS
  await happen(one, 1)
  await one.checkpoints.sign('due')
  expect(one.told).toHaveLength(2)
})

test('no verifier of tokens takes one for a token, even with the key', async () => {
  const one = await replica()
  await happen(one, 1)
  await one.checkpoints.sign('now')
  const [jws = ''] = one.told
  expect(decodeProtectedHeader(jws)).toEqual({
    ...{ alg: 'ES256', typ: 'metabind-event-checkpoint+jws', kid: kidOf(one) },
  })
  const claims = JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString())
  expect(Object.keys(claims).toSorted()).toEqual(
    ['hash', 'key', 'next', 'registrar', 'seq', 'time'].toSorted(),
  )
  const set = createLocalJWKSet({
    keys: one.keys.published.map(({ kid, jwk }) => ({ kid, ...jwk })),
  })
  await expect(jwtVerify(jws, set, { issuer: URL_OF_REGISTRAR })).rejects.toThrow('"iss"')
  await expect(jwtVerify(jws, set, { audience: 'a' })).rejects.toThrow('"aud"')
})

describe('who writes the database and has no key', () => {
  let one: Replica
  let kept: string
  beforeEach(async () => {
    one = await replica()
    await happen(one, 5)
    await one.checkpoints.sign('now')
    kept = one.told[0] ?? ''
    nowMs += EVERY_MS
  })
  const brokenAt = (file: string, line: number, reason: string) => ({
    broken: { file, line, reason: expect.stringMatching(reason) },
  })

  test.each([
    ['the events alone', ''],
    ['their checkpoint, too', 'DELETE FROM checkpoints;'],
  ])('cuts off the end, %s: found by what was kept, and not signed', async (_what, more) => {
    tamper(`DELETE FROM events WHERE seq > 4; ${more}`)
    const known = { kept: keptAs(kept), kids: [kidOf(one)] }
    expect(await verdict(one, known)).toMatchObject(
      brokenAt('kept', 1, '^the chain ends before record 6.*: its end was cut off$'),
    )
    await expect(one.checkpoints.sign('due')).rejects.toEqual(notSigned)
    await happen(one, 9)
    expect(await verdict(one, known)).toMatchObject(
      brokenAt('kept', 1, 'another record .*: the chain was rewritten$'),
    )
    await expect(one.checkpoints.sign('now')).rejects.toEqual(notSigned)
    expect(one.told).toHaveLength(1)
  })

  test('removes an event in the middle', async () => {
    tamper('DELETE FROM events WHERE seq = 3')
    expect(await verdict(one)).toMatchObject(
      brokenAt('events', 3, '^does not continue the record before'),
    )
    await happen(one, 1)
    // What is new continues what was signed: the old one is for whoever verifies.
    await one.checkpoints.sign('due')
    expect(await verdict(one)).toMatchObject(brokenAt('events', 3, '^does not continue'))
  })

  test('changes a byte of one', async () => {
    tamper('UPDATE events SET line = replace(line, \'"at":2\', \'"at":9\') WHERE seq = 4')
    expect(await verdict(one)).toMatchObject(
      brokenAt('events', 4, '^not a whole record, or altered'),
    )
  })

  test.each([4, 40])('makes the chain anew, of %i events', async (events) => {
    rewrite(events)
    const said = await verdict(one, { kept: keptAs(kept) })
    expect(said.broken?.reason).toMatch(events > 5 ? /the chain was rewritten$/ : /was cut off$/)
    expect((await verdict(one)).broken).toBeDefined()
    await expect(one.checkpoints.sign('due')).rejects.toEqual(notSigned)
    tamper('DELETE FROM checkpoints')
    // Nothing in the database is left that says it, but for the one that was kept, and the memory of the process.
    expect((await verdict(one)).broken).toBeUndefined()
    expect((await verdict(one, { kids: [kidOf(one)] })).broken?.reason).toMatch(/anybody could/)
    expect((await verdict(one, { kept: keptAs(kept) })).broken).toBeDefined()
    await expect(one.checkpoints.sign('due')).rejects.toEqual(notSigned)
  })

  test('signs a new chain with a key of their own, which is not the one that is known', async () => {
    const foreign = await replica(`${database}.foreign`, masterKey(new Secret(randomBytes(32))))
    await happen(foreign, 30)
    await foreign.checkpoints.sign('now')
    const stored = await foreign.repository.lastCheckpoint()
    const lines = await foreign.repository.events(0, 100)
    tamper('DELETE FROM events; DELETE FROM checkpoints')
    const opened = new DatabaseSync(database)
    for (const line of lines) {
      const { seq, hash } = JSON.parse(line)
      opened.prepare('INSERT INTO events VALUES (?, ?, ?)').run(seq, hash, line)
    }
    const { seq = 0, keys = '', jws = '' } = stored ?? {}
    opened.prepare('INSERT INTO checkpoints VALUES (1, ?, ?, ?)').run(seq, keys, jws)
    opened.close()
    expect(await verdict(one)).toMatchObject({ broken: undefined, keys: [kidOf(foreign)] })
    expect((await verdict(one, { kids: [kidOf(one)] })).broken?.reason).toMatch(/anybody could/)
    const withKept = await verdict(one, { kept: keptAs(kept), kids: [kidOf(one)] })
    expect(withKept).toMatchObject(brokenAt('checkpoints of the database', 1, 'another key'))
    await expect(one.checkpoints.sign('due')).rejects.toEqual(notSigned)
    // A process that remembers nothing does not take it for its own either: it signs beside it what it reads.
    const later = await replica()
    nowMs -= EVERY_MS
    await later.checkpoints.sign('due')
    expect(later.told).toHaveLength(1)
  })

  test('puts an older checkpoint in the place of the last: a process that goes on knows better', async () => {
    await happen(one, 3)
    await one.checkpoints.sign('due')
    tamper('DELETE FROM checkpoints WHERE number = 2; DELETE FROM events WHERE seq > 6')
    nowMs += EVERY_MS
    await happen(one, 3)
    await expect(one.checkpoints.sign('due')).rejects.toEqual(notSigned)
    const said = await verdict(one, { kept: keptAs(...one.told) })
    expect(said).toMatchObject(brokenAt('kept', 2, 'rewritten$'))
  })

  test('puts in what is no checkpoint, or another’s: nothing is signed, and it is named', async () => {
    tamper("INSERT INTO checkpoints VALUES (2, 7, 'x', 'a.b.c')")
    await expect(one.checkpoints.sign('due')).rejects.toMatchObject({
      code: 'REGISTRAR_CHECKPOINT',
    })
    expect(await verdict(one)).toMatchObject(
      brokenAt('checkpoints of the database', 2, '^a checkpoint that is none'),
    )
  })
})

test('a kept checkpoint whose bytes were changed, or of another registrar, is named by its line', async () => {
  const one = await replica()
  await happen(one, 2)
  await one.checkpoints.sign('now')
  const [jws = ''] = one.told
  const [header, payload = '', signature] = jws.split('.')
  const other = Buffer.from(payload, 'base64url').toString().replace('"seq":3', '"seq":2')
  const forged = `${header}.${Buffer.from(other).toString('base64url')}.${signature}`
  expect((await verdict(one, { kept: keptAs(jws, forged) })).broken).toEqual({
    ...{ file: 'kept', line: 2, reason: "the checkpoint's signature is wrong" },
  })
  const said = await verdict(one, { kept: keptAs(jws), url: 'https://other.example' })
  expect(said.broken?.reason).toMatch(/of another registrar/)
})

/** What whoever has a key of their own makes. */
function foreignCheckpoint(claims: { readonly registrar?: string; readonly y?: string }): string {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const { registrar = URL_OF_REGISTRAR, y: said = y } = claims
  const key = { kty: 'EC', crv: 'P-256', x, y: said } as const
  const time = new Date(NOW_MS).toISOString()
  const payload = { registrar, time, seq: 1, hash: '0'.repeat(64), key, next: [] }
  const header = { alg: 'ES256', typ: 'metabind-event-checkpoint+jws', kid: jwkThumbprint(key) }
  const text = [header, payload]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const by = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const
  return `${text}.${sign('sha256', Buffer.from(text), by).toString('base64url')}`
}

test('a checkpoint whose key is no point of the curve is none', async () => {
  const one = await replica()
  await happen(one, 1)
  const forged = foreignCheckpoint({ y: '_'.repeat(43).replace(/_$/, '8') })
  expect((await verdict(one, { kept: keptAs(forged) })).broken).toEqual({
    ...{ file: 'kept', line: 1, reason: 'a checkpoint that is none: its key is none' },
  })
})

test('the name of another registrar makes no lines of its own', async () => {
  const one = await replica()
  await happen(one, 1)
  const forged = foreignCheckpoint({ registrar: 'x\n\u001b[2Jwhole: 2 records' })
  const { broken } = await verdict(one, { kept: keptAs(forged) })
  expect(broken?.reason).toMatch(/another registrar, x\\u\{a\}\\u\{1b\}\[2Jwhole: 2 records$/)
})

test('two replicas that sign at once sign one event once, and go on from each other', async () => {
  const [one, other] = [await replica(), await replica()]
  await happen(one, 3)
  await Promise.all([one.checkpoints.sign('due'), other.checkpoints.sign('due')])
  expect([...one.told, ...other.told]).toHaveLength(1)
  for (let times = 0; times < 5; times += 1) {
    nowMs += EVERY_MS
    await happen(times % 2 === 0 ? one : other, 1)
    await Promise.all([other.checkpoints.sign('due'), one.checkpoints.sign('due')])
  }
  expect([...one.told, ...other.told]).toHaveLength(6)
  const found = await verdict(one, { kept: keptAs(...one.told, ...other.told), kids: [kidOf(one)] })
  expect(found).toMatchObject({ records: 9, checkpoints: 12, unsigned: 0, broken: undefined })
})

test('at a change of keys each names the next before that signs, also if nothing happens in the fleet', async () => {
  const one = await replica()
  await happen(one, 1)
  await one.checkpoints.sign('due')
  const [first = ''] = one.told
  const before = kidOf(one)
  for (let days = 0; days < 800; days += 10) {
    nowMs += 10 * DAY_MS
    await one.keys.refresh()
    await one.checkpoints.sign('due')
  }
  const keys = [...new Set(one.told.map((jws) => decodeProtectedHeader(jws).kid))]
  expect(keys.length).toBeGreaterThanOrEqual(3)
  expect(one.keys.published.map(({ kid }) => kid)).not.toContain(before)
  // By the first checkpoint alone, by the first key alone, and by the last key alone.
  for (const known of [{ kept: keptAs(first) }, { kids: [before] }]) {
    expect(await verdict(one, known)).toMatchObject({ keys, unsigned: 0, broken: undefined })
  }
  expect(await verdict(one, { kids: [kidOf(one)] })).toMatchObject({
    unsigned: 0,
    broken: undefined,
  })
})

test('a backup that was restored goes back: what was signed before holds, what was signed since is said to be missing', async () => {
  const one = await replica()
  await happen(one, 3)
  await one.checkpoints.sign('now')
  await one.close()
  const copy = `${database}.copy`
  copyFileSync(database, copy)
  const two = await replica()
  await happen(two, 3)
  await two.checkpoints.sign('now')
  await two.close()
  await restore(copy, database, 'uid 0', nowMs)
  const three = await replica()
  await three.checkpoints.sign('now')
  expect(await verdict(three, { kept: keptAs(...one.told) })).toMatchObject({
    ...{ records: 5, unsigned: 0, broken: undefined },
  })
  const kept = keptAs(...one.told, ...two.told)
  const backed = ', or is that of a backup: record 5 says that it was restored'
  expect((await verdict(three, { kept })).broken).toMatchObject({
    ...{ file: 'kept', line: 2, reason: expect.stringMatching(`cut off${backed}$`) },
  })
  await happen(three, 9)
  expect((await verdict(three, { kept })).broken?.reason).toMatch(`rewritten${backed}`)
  // The file that it took the place of has it.
  const aside = await replica(`${database}.before-restore`)
  expect(await verdict(aside, { kept })).toMatchObject({ records: 7, broken: undefined })
})

test('a backup whose events do not reach what its own checkpoints sign is not restored', async () => {
  const one = await replica()
  await happen(one, 3)
  await one.checkpoints.sign('now')
  await one.close()
  tamper('DELETE FROM events WHERE seq > 3')
  const copy = `${database}.copy`
  copyFileSync(database, copy)
  await expect(restore(copy, database, 'uid 0', nowMs)).rejects.toThrow(/its end was cut off/)
})
