import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { curlAs } from '../harness/as-uid.ts'
import { runNode, scratch } from '../harness/metabind.ts'
import { CLI } from '../harness/programs.ts'
import { enrolledRow, NOW_MS } from '../registrar/enrolled.ts'
import { registrarCommand } from './registrar-command.ts'
import { type RegistrarProcess, startRegistrarProcess } from './registrar-process.ts'

/** Checkpoints of the events as a registrar gives them out, and as an administrator uses them. */

const stack = new AsyncDisposableStack()
let top: string
let registrar: RegistrarProcess
let published: string
let kept: string
beforeAll(async () => {
  top = stack.use(await scratch()).path
  published = join(top, 'published')
  const directory = join(top, 'r')
  // What is signed is told whatever the level of the log is.
  const more = `[publish]\ndirectory = "${published}"\n[log]\nlevel = "info"\n[api]\nsocket = "${top}/api.socket"\n`
  const first = await startRegistrarProcess(directory, more)
  expect((await registrarCommand(first, 'events', '--checkpoint')).stderr).toContain('none yet')
  const repository = sqliteRepository(first.database)
  const change = { instances: [enrolledRow()], events: [{ event: 'a' }, { event: 'b' }] }
  await repository.commit(change, NOW_MS)
  await repository.close()
  await first.end()
  const told = await first.logged('events signed')
  expect(told).toMatchObject({ level: 'notice', audit: true, seq: 3 })
  kept = join(top, 'kept')
  writeFileSync(kept, `${told.checkpoint}\n`)
  registrar = await startRegistrarProcess(directory, more)
  stack.defer(() => registrar.end())
})
afterAll(() => stack.disposeAsync())

const events = (...args: string[]) => registrarCommand(registrar, 'events', ...args)
const jwks = () => join(published, 'events', 'jwks.json')

test('the log, the verb and the API have the same; its key is published apart from those of tokens', async () => {
  const jws = readFileSync(kept, 'utf8')
  expect(await events('--checkpoint')).toMatchObject({ code: 0, stdout: jws, stderr: '' })
  const read = async (path: string) =>
    JSON.parse((await curlAs(process.getuid?.() ?? 0, `${top}/api.socket`, path)).body)
  expect(await read('/checkpoint')).toEqual({ checkpoint: jws.trim() })
  expect(await read('/checkpoints')).toEqual({ checkpoints: [jws.trim()] })
  expect(await read('/checkpoints?count=1')).toEqual({ checkpoints: [jws.trim()], next: 1 })
  expect(await read('/checkpoints?after=1')).toEqual({ checkpoints: [] })
  const served = await (await fetch(`${registrar.origin}/events/jwks.json`)).json()
  expect(served).toEqual(JSON.parse(readFileSync(jwks(), 'utf8')))
  const { kid } = JSON.parse(Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString())
  expect(served).toMatchObject({ keys: [{ kid, use: 'sig', alg: 'ES256' }] })
  for (const path of ['/jwks.json', '/.well-known/openid-configuration']) {
    expect(await (await fetch(`${registrar.origin}${path}`)).text()).not.toContain(kid)
  }
})

describe('events --verify', () => {
  test('whole: 0; with --key and events that are not signed yet: 3', async () => {
    const said = await events('--verify', kept)
    expect([said.code, said.stderr]).toEqual([0, ''])
    expect(said.stdout.split('\n')).toEqual([
      'whole: 3 records, 1 to 3',
      '2 checkpoints, signed up to record 3',
      expect.stringMatching(/^head [0-9a-f]{64}$/),
      expect.stringMatching(/^signed with key \S{43} \(compare it: --key\)$/),
      '',
    ])
    expect(await events('--verify', '--key', jwks())).toMatchObject({ code: 0 })
    await registrarCommand(registrar, 'suspend', 'i-one')
    expect((await events('--verify', kept)).code).toBe(0)
    const unsigned = await events('--verify', kept, '--key', jwks())
    expect([unsigned.code, unsigned.stdout]).toEqual([
      3,
      expect.stringContaining(
        "records after 3 are not signed: they could be anybody's, or cut off",
      ),
    ])
    const json = JSON.parse((await events('--verify', kept, '--json')).stdout)
    expect(json).toMatchObject({ records: 4, signedUpTo: 3, unsigned: 1, checkpoints: 2 })
  })

  test('cut and rewritten: 1, with the line of the checkpoint that is not held', async () => {
    const copy = join(top, 'cut.db')
    await registrarCommand(registrar, 'backup', copy)
    const config = join(top, 'cut.toml')
    const text = readFileSync(registrar.config, 'utf8')
    writeFileSync(config, text.replace(registrar.database, copy))
    const opened = new DatabaseSync(copy)
    opened.exec('DELETE FROM events WHERE seq > 2; DELETE FROM checkpoints')
    opened.close()
    const cut = await registrarCommand({ config }, 'events', '--verify', kept)
    expect([cut.code, cut.stdout]).toEqual([
      1,
      `broken: ${kept}:1: the chain ends before record 3, which the checkpoint signs: its end was cut off\n`,
    ])
    const repository = sqliteRepository(copy)
    await repository.commit({ instances: [], events: [{ event: 'forged' }] }, NOW_MS)
    await repository.close()
    const rewritten = await registrarCommand({ config }, 'events', '--verify', kept)
    expect([rewritten.code, rewritten.stdout]).toEqual([
      1,
      `broken: ${kept}:1: the checkpoint signs another record than the one with that number: the chain was rewritten\n`,
    ])
    const printed = join(top, 'events.txt')
    writeFileSync(printed, (await registrarCommand({ config }, 'events')).stdout)
    // The hashes alone do not show it.
    expect((await runNode([CLI, 'audit', 'verify', printed])).code).toBe(0)
  })

  test.each([
    [['--verify', '--checkpoint'], 2, 'exclude each other'],
    [['a'], 2, 'with --verify alone'],
    [['--key', 'a'], 2, '--key is for events --verify'],
    [['--verify', '/none'], 1, '/none: it is not there'],
    [['--verify', '/dev/null'], 1, '/dev/null holds no checkpoint'],
    [['--verify', '--key', '/dev/null'], 1, '/dev/null holds no public key'],
  ])('%j ends with %i', async (args, code, says) => {
    const done = await events(...args)
    expect([done.code, done.stderr]).toEqual([code, expect.stringContaining(says)])
    expect((await registrarCommand(registrar, 'list', '--verify')).code).toBe(2)
  })
})

test('a registrar whose chain was cut below what it signed goes on, signs nothing more and says so', async () => {
  const directory = join(top, 'tampered')
  const first = await startRegistrarProcess(directory, '')
  const repository = sqliteRepository(first.database)
  await repository.commit({ instances: [], events: [{ event: 'a' }, { event: 'b' }] }, NOW_MS)
  await repository.close()
  await first.end()
  const opened = new DatabaseSync(first.database)
  opened.exec('DELETE FROM events WHERE seq = 3')
  opened.close()
  const second = await startRegistrarProcess(directory, '')
  stack.defer(() => second.end())
  expect((await fetch(`${second.origin}/healthz`)).status).toBe(200)
  await second.end()
  expect(await second.logged('events not signed')).toMatchObject({
    ...{ level: 'error', cause: expect.stringContaining('Event 3, which was there') },
  })
  expect(second.records.filter(({ msg }) => msg === 'events signed')).toEqual([])
})
