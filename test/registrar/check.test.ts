import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { checkRows } from '../../src/registrar/check.ts'
import { parseRegistrarConfig } from '../../src/registrar/registrar-config.ts'
import { keyRing } from '../../src/registrar-keys/key-ring.ts'
import { openMasterKey } from '../../src/registrar-keys/master-key.ts'
import { sealedKeys } from '../../src/registrar-keys/sealed-keys.ts'
import { openSqlite } from '../../src/registrar-repository/sqlite-file.ts'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { SQLITE_MIGRATIONS } from '../../src/registrar-repository/sqlite-schema.ts'
import { sqliteState } from '../../src/registrar-repository/sqlite-state.ts'
import { OpensslPki } from '../harness/openssl-pki.ts'
import { scratchDirectory } from '../harness/scratch.ts'

/** What `metabind-registrar check` finds of what a start needs, without changing anything. */

const NOW_MS = Date.now()
const DAY_MS = 86_400_000
const SCHEMA = SQLITE_MIGRATIONS.length

let stack: AsyncDisposableStack
let at: string
let database: string
let master: string
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  at = stack.use(await scratchDirectory()).path
  database = join(at, 'registrar.db')
  master = join(at, 'master.key')
})
afterEach(() => stack.disposeAsync())

const configOf = (more = '') => {
  const storage = `[storage]\ndatabase = "${database}"\nmaster_key = "${master}"\n`
  const text = `url = "https://registrar.example"\n${storage}${more}`
  return parseRegistrarConfig([{ file: 'registrar.toml', text }])
}

/** Each row in a line. */
async function rows(more = '', nowMs = NOW_MS): Promise<Record<string, string>> {
  const found = await checkRows(configOf(more), nowMs)
  return Object.fromEntries(
    found.map(({ what, says, fault }) => [what, fault === undefined ? says : fault.message]),
  )
}

/** Names, sizes and times of all that is there. */
const seen = () =>
  readdirSync(at)
    .toSorted()
    .map((name) => {
      const { size, mtimeMs, mode } = statSync(join(at, name))
      return [name, size, mtimeMs, mode]
    })

async function fill(): Promise<ReturnType<typeof sqliteRepository>> {
  const repository = sqliteRepository(database)
  await keyRing({
    ...{
      repository,
      store: sealedKeys(openMasterKey(master)),
      kinds: ['ES256'],
      nowMs: () => NOW_MS,
    },
    schedule: { rotateMs: 30 * DAY_MS, overlapMs: DAY_MS / 2 },
  }).refresh()
  return repository
}

test('before the first start nothing is there, and nothing is made', async () => {
  expect(await rows()).toEqual({
    trust: 'valid',
    tls: 'none: a proxy has to end it',
    database: `none yet: ${database}; a start makes it`,
    'master key': `none yet: ${master}; a start makes it`,
  })
  expect(seen()).toEqual([])
})

test('of a folder of anchors the file is named that is none', async () => {
  const file = join(at, 'broken.pem')
  writeFileSync(file, 'no certificate')
  expect((await rows(`[trust]\nek_anchors = "${at}"\n`)).trust).toContain(file)
})

test('where nothing can be made, or the directory is missing, it is said', async () => {
  database = join(at, 'none', 'registrar.db')
  expect((await rows()).database).toMatch(/none: it is not there/)
})

describe('what registrars have written', () => {
  test.each(['while one has it open', 'while none has'])(
    'is read %s, and stays as it is',
    async (when) => {
      const repository = await fill()
      if (when === 'while none has') await repository.close()
      else stack.defer(() => repository.close())
      const before = seen()
      expect(await rows()).toMatchObject({
        database: `valid: ${database}, schema ${SCHEMA}`,
        'master key': `valid: ${master}, opens the 1 keys in the database`,
      })
      // Of a journal that is shared the locks are in it.
      const bytes = ([name]: readonly unknown[]) => !String(name).endsWith('-shm')
      expect(seen().filter(bytes)).toEqual(before.filter(bytes))
    },
  )

  test.each(SQLITE_MIGRATIONS.slice(0, -1).map((_, at) => at + 1))(
    'in schema %i is told with the one that a start brings it to',
    async (version) => {
      openSqlite(database, SQLITE_MIGRATIONS.slice(0, version)).close()
      const says = `valid: ${database}, schema ${version}; a start brings it to ${SCHEMA}`
      expect((await rows()).database).toBe(says)
      expect(sqliteState(database)?.version).toBe(version)
    },
  )

  test('of a later version, or what is no database, or open to others, is refused', async () => {
    openSqlite(database, [...SQLITE_MIGRATIONS, 'CREATE TABLE more (a TEXT)']).close()
    expect((await rows()).database).toMatch(/later version/)
    writeFileSync(database, 'x'.repeat(4096))
    expect((await rows()).database).toMatch(/database of the registrar cannot be used/)
    chmodSync(database, 0o644)
    expect((await rows()).database).toMatch(/not this user's file alone/)
  })

  test('is not opened by another master key, or by none', async () => {
    await (await fill()).close()
    const key = readFileSync(master)
    writeFileSync(master, randomBytes(32))
    expect((await rows())['master key']).toMatch(/sealed under another key/)
    writeFileSync(master, key.subarray(1))
    expect((await rows())['master key']).toMatch(/no key of 32 bytes/)
    chmodSync(master, 0o644)
    expect((await rows())['master key']).toMatch(/DIRECTORY|other/i)
    master = join(at, 'other.key')
    expect((await rows())['master key']).toMatch(/is not there, which sealed what is in it/)
    expect(readdirSync(at)).not.toContain('other.key')
  })
})

describe('the certificate', () => {
  const pki = new OpensslPki()
  const [one, other] = ['One', 'Other'].map((organization) =>
    pki.certificate({ subject: `/O=${organization}`, extensions: [] }),
  )
  const certificate = () => join(at, 'certificate.pem')
  const key = () => join(at, 'key.pem')
  const tls = () => `[tls]\ncertificate = "${certificate()}"\nkey = "${key()}"\n`
  // Later than the certificates are made.
  const said = async (nowMs = Date.now()) => (await rows(tls(), nowMs)).tls
  beforeEach(() => {
    copyFileSync(one?.file ?? '', certificate())
    copyFileSync(one?.keyFile ?? '', key())
    chmodSync(key(), 0o600)
  })

  test('and its key are shown with when they end', async () => {
    expect(await said()).toMatch(/^valid: .*certificate\.pem, until \d{4}-/)
  })

  test('of another time is told with that time', async () => {
    expect(await said(NOW_MS + 100 * 365 * DAY_MS)).toMatch(/has expired on \d{4}-/)
    expect(await said(NOW_MS - 3650 * DAY_MS)).toMatch(/not valid before \d{4}-/)
  })

  test('with another key, without one, or with one that others read is refused', async () => {
    chmodSync(key(), 0o644)
    expect(await said()).toMatch(/certificate of the registrar or its key cannot be used/)
    copyFileSync(other?.keyFile ?? '', key())
    chmodSync(key(), 0o600)
    expect(await said()).toMatch(/cannot be used/)
    writeFileSync(certificate(), '')
    expect(await said()).toMatch(/cannot be used/)
  })
})
