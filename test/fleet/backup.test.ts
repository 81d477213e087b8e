import { spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { enrolledInstanceSchema } from '../../src/registrar-repository/enrolled-instance.ts'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { scratch } from '../harness/metabind.ts'
import { REGISTRAR } from '../harness/programs.ts'
import { enrolledRow, NOW_MS, otherRow } from '../registrar/enrolled.ts'
import { registrarCommand } from './registrar-command.ts'
import { startRegistrarProcess } from './registrar-process.ts'

/** Copies of the database, made beside a registrar that serves, and put back. */

const AUDIENCE = '[[audience]]\nname = "sts.example"\nalgorithm = "ES256"\n'
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const { iid, instanceId } = enrolledRow()

const stack = new AsyncDisposableStack()
let top: string
let count = 0
beforeAll(async () => {
  top = stack.use(await scratch()).path
})
afterAll(() => stack.disposeAsync())

function newDirectory(): string {
  count += 1
  return join(top, String(count))
}

/** A database of some rows, without a registrar. */
async function filled(rows: number): Promise<{ config: string; database: string; at: string }> {
  const at = newDirectory()
  await mkdir(at)
  const database = join(at, 'r.db')
  const config = join(at, 'r.toml')
  const storage = `[storage]\ndatabase = "${database}"\nmaster_key = "${at}/key"\n`
  writeFileSync(config, `url = "https://registrar.example"\n${storage}`)
  const repository = sqliteRepository(database)
  const instances = Array.from({ length: rows }, (_, at) => otherRow(at))
  await repository.commit({ instances, events: [{ event: 'test' }] }, NOW_MS)
  await repository.close()
  return { config, database, at }
}

async function exchange(origin: string, subject: string): Promise<unknown> {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: subject,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    audience: 'sts.example',
  })
  return (await fetch(`${origin}/token`, { method: 'POST', body })).json()
}

function identityToken(audience: string): Promise<string> {
  const iat = Math.floor(Date.now() / 1000)
  const jti = randomBytes(16).toString('hex')
  const claims = { iss: `metabind:${iid}`, sub: instanceId, aud: audience, iid, jti }
  return new SignJWT({ ...claims, iat, exp: iat + 900 })
    .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
    .sign(privateKey)
}

test('a token that was exchanged after the backup is not exchanged again after the restore', async () => {
  const directory = newDirectory()
  const file = join(top, 'copy.db')
  const first = await startRegistrarProcess(directory, AUDIENCE)
  const sk = enrolledInstanceSchema.shape.sk.parse(publicKey.export({ format: 'jwk' }))
  const repository = sqliteRepository(first.database)
  const row = enrolledRow({ sk, expiresAtMs: Date.now() + 3_600_000 })
  await repository.commit({ instances: [row], events: [] }, Date.now())
  await repository.close()

  expect(await registrarCommand(first, 'backup', file)).toMatchObject({ code: 0, stderr: '' })
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const subject = await identityToken(first.url)
  expect(await exchange(first.origin, subject)).toHaveProperty('access_token')

  const refused = await registrarCommand(first, 'restore', file)
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('REGISTRAR_RUNNING')])
  await first.end()
  expect(await registrarCommand(first, 'restore', file)).toMatchObject({ code: 0, stderr: '' })
  expect(existsSync(`${first.database}.before-restore`)).toBe(true)

  const second = await startRegistrarProcess(directory, AUDIENCE)
  stack.defer(() => second.end())
  expect(await exchange(second.origin, subject)).toMatchObject({
    error_description: expect.stringContaining('REGISTRAR_USED'),
  })
  const events = (await registrarCommand(second, 'events')).stdout.trim().split('\n')
  expect(JSON.parse(events.at(-1) ?? '')).toMatchObject({ event: 'database.restored' })
  expect((await registrarCommand(second, 'list')).stdout).toContain(iid)
})

describe('what is refused, and changes nothing', () => {
  test('a backup over a file that is there', async () => {
    const { config, at } = await filled(1)
    const file = join(at, 'copy')
    writeFileSync(file, 'mine')
    const { code, stderr } = await registrarCommand({ config }, 'backup', file)
    expect([code, stderr]).toEqual([1, expect.stringContaining('FILE_UNUSABLE')])
    expect(stderr).toContain(`${file}: it is there already.`)
    expect(readFileSync(file, 'utf8')).toBe('mine')
  })

  test('a file that is not there is named as it was given', async () => {
    const { config, at } = await filled(1)
    for (const args of [
      ['restore', join(at, 'none')],
      ['backup', join(at, 'none', 'copy')],
    ]) {
      const { code, stderr } = await registrarCommand({ config }, ...args)
      expect([code, stderr]).toEqual([1, expect.stringContaining(`${args[1]}: it is not there.`)])
      expect(stderr).not.toContain('.new')
    }
  })

  test.each([
    ['no database', 'bytes', 'not a database, whatever its name says', 'REGISTRAR_DATABASE'],
    ['an empty file', 'bytes', '', 'of no registrar'],
    ['one of a later version', 'sql', 'PRAGMA user_version = 999', 'later version'],
    [
      'one whose events were edited',
      'sql',
      `UPDATE events SET line = replace(line, '"test"', '"best"')`,
      'of the copy',
    ],
    ['one whose events were cut', 'sql', 'DELETE FROM events WHERE seq = 1', 'of the copy'],
  ])('a restore of %s', async (_what, as, change, says) => {
    const { config, database, at } = await filled(2)
    const file = join(at, 'copy')
    await registrarCommand({ config }, 'backup', file)
    if (as === 'bytes') writeFileSync(file, change)
    else {
      const copy = new DatabaseSync(file)
      copy.exec(change)
      copy.close()
    }
    const before = readFileSync(database)
    const { code, stderr } = await registrarCommand({ config }, 'restore', file)
    expect([code, stderr]).toEqual([1, expect.stringContaining(says)])
    expect(readFileSync(database).equals(before)).toBe(true)
    expect(readdirSync(at).filter((name) => name.endsWith('.new'))).toEqual([])
  })

  test('wrong usage', async () => {
    const { config } = await filled(1)
    for (const args of [['backup'], ['backup', 'a', 'b'], ['restore', 'a', 'b']]) {
      expect((await registrarCommand({ config }, ...args)).stderr).toContain('takes one FILE')
    }
  })
})

test('a broken database is replaced, and what is left of it does not get into the new one', async () => {
  const { config, database, at } = await filled(3)
  const file = join(at, 'copy')
  await registrarCommand({ config }, 'backup', file)
  writeFileSync(database, randomBytes(8192))
  writeFileSync(`${database}-wal`, randomBytes(8192))
  expect(await registrarCommand({ config }, 'restore', file)).toMatchObject({ code: 0, stderr: '' })
  expect((await registrarCommand({ config }, 'list')).stdout.trim().split('\n')).toHaveLength(3)
})

test('killed while it copies: the file is not there, or is whole', async () => {
  const { config, at } = await filled(4000)
  const whole = join(at, 'whole')
  const startedAtMs = performance.now()
  await registrarCommand({ config }, 'backup', whole)
  const tookMs = performance.now() - startedAtMs
  let killed = 0
  for (let at8th = 1; at8th <= 8; at8th += 1) {
    const file = join(at, `copy-${at8th}`)
    const child = spawn(process.execPath, [REGISTRAR, 'backup', file, '--config', config])
    const exited = once(child, 'exit')
    await Promise.race([sleep((tookMs * at8th) / 8), exited])
    child.kill('SIGKILL')
    const [, signal] = await exited
    if (signal === 'SIGKILL') killed += 1
    if (!existsSync(file)) continue
    const restored = join(at, `restored-${at8th}.db`)
    await copyFile(file, restored)
    const copy = new DatabaseSync(restored)
    expect(copy.prepare('SELECT count(*) AS count FROM instances').get()?.count).toBe(4000)
    copy.close()
  }
  expect(killed).toBeGreaterThan(0)
})
