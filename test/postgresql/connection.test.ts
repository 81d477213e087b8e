import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chown, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgresqlRepository } from '../../src/registrar-repository/postgresql-repository.ts'
import type { PostgresqlPlace } from '../../src/registrar-repository/postgresql-session.ts'
import type { Repository } from '../../src/registrar-repository/repository.ts'
import { Secret } from '../../src/secret.ts'
import { freePort } from '../harness/free-port.ts'
import { enrolledRow, NOW_MS } from '../registrar/enrolled.ts'
import { type Cluster, startCluster } from './cluster.ts'

/** How the registrar comes to its server, and what it asks of it for each transaction. */

const stack = new AsyncDisposableStack()
let cluster: Cluster
let place: PostgresqlPlace
beforeAll(async () => {
  cluster = stack.use(await startCluster())
  place = await cluster.newDatabase()
})
afterAll(() => stack.disposeAsync())

async function opened(at: PostgresqlPlace) {
  const repository = await postgresqlRepository(at, 'make')
  stack.defer(() => repository.close())
  return repository
}

describe('over TCP', () => {
  let secured: Cluster
  let at: PostgresqlPlace
  let ca: string
  beforeAll(async () => {
    const { directory } = cluster
    const port = await freePort()
    ca = await certificate(directory, cluster.uid)
    const files = [`ssl_cert_file=${directory}/tls.pem`, `ssl_key_file=${directory}/tls.key`]
    secured = stack.use(await startCluster(port, 'ssl=on', ...files))
    at = { ...(await secured.newDatabase()), host: 'localhost', port, tls: { ca } }
  })

  test('a certificate that names the host and leads to the authority is taken, and the connection is encrypted', async () => {
    const repository = await opened(at)
    await repository.instance('01'.repeat(16))
    const { rows } = await secured.sql(
      at.database,
      `SELECT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
       WHERE application_name = 'metabind-registrar'`,
    )
    expect(rows).toEqual([{ ssl: true, version: 'TLSv1.3' }])
  })

  test.each([
    ['of another authority', () => ({ tls: { ca: undefined } }), /self-signed/],
    ['of another name', () => ({ host: '127.0.0.1' }), /does not match/],
  ])('a certificate %s is refused', async (_, change, why) => {
    const refused = postgresqlRepository({ ...at, ...change() }, 'make')
    await expect(refused).rejects.toMatchObject({
      code: 'REGISTRAR_DATABASE',
      cause: { message: expect.stringMatching(why) },
    })
  })

  test('a server without TLS is refused, and is not told the password', async () => {
    const port = await freePort()
    const plain = stack.use(await startCluster(port))
    const asked: string[] = []
    const password = () => {
      asked.push('asked')
      return new Secret('x')
    }
    const there = { ...(await plain.newDatabase()), host: 'localhost', port, tls: { ca }, password }
    await expect(postgresqlRepository(there, 'make')).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/does not support SSL/) },
    })
    expect(asked).toEqual([])
  })
})

/** A certificate of `localhost` that is its own authority, with its key, for the server's user. @returns PEM */
async function certificate(directory: string, uid: number): Promise<string> {
  const [key, pem] = [join(directory, 'tls.key'), join(directory, 'tls.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key]
  execFileSync('openssl', ['req', '-x509', ...made, '-out', pem, '-days', '2', ...subject], {
    stdio: 'ignore',
  })
  if (process.getuid?.() === 0) await chown(key, uid, uid)
  return readFile(pem, 'utf8')
}

test('a wrong password is refused, and another one is taken without a restart', async () => {
  let password = 'wrong'
  const changing = { ...place, password: () => new Secret(password) }
  await expect(postgresqlRepository(changing, 'make')).rejects.toThrow(/28P01/)
  password = place.password()?.reveal() ?? ''
  const repository = await opened(changing)
  expect(await repository.instance('01'.repeat(16))).toBeUndefined()
})

test('who waits for what another holds gives up in time, and the registrar goes on', async () => {
  const repository = await opened({ ...place, lockMs: 100, connections: 1 })
  await repository.commit({ instances: [enrolledRow()], events: [] }, NOW_MS)
  const change = { instances: [enrolledRow({ revision: 2 })], events: [] }
  const held = await cluster.holding(place.database, 'SELECT FROM instances FOR UPDATE')
  await expect(repository.commit(change, NOW_MS)).rejects.toThrow(/55P03/)
  await held[Symbol.asyncDispose]()
  await expect.poll(() => repository.commit(change, NOW_MS)).toBe(true)
})

const CONNECTIONS = 2

async function connectionsOf(database: string): Promise<number> {
  const sql = `SELECT count(*)::int AS count FROM pg_stat_activity
    WHERE application_name = 'metabind-registrar' AND datname = '${database}'`
  return (await cluster.sql(database, sql)).rows[0]?.count
}

const askMany = (repository: Repository) =>
  Array.from({ length: 40 }, () => repository.instance(randomBytes(16).toString('hex')))

test('of more requests than connections the rest waits', async () => {
  const own = { ...(await cluster.newDatabase()), connections: CONNECTIONS, waitMs: 60_000 }
  const repository = await opened(own)
  await Promise.all(askMany(repository))
  expect(await connectionsOf(own.database)).toBe(CONNECTIONS)
})

test('and no longer than it may, while those that have a connection go on', async () => {
  const own = { ...(await cluster.newDatabase()), connections: CONNECTIONS, lockMs: 60_000 }
  const repository = await opened({ ...own, waitMs: 1500, statementMs: 60_000 })
  // Both connections are there before both are in use.
  await expect
    .poll(async () => {
      await Promise.allSettled(askMany(repository))
      return connectionsOf(own.database)
    })
    .toBe(CONNECTIONS)
  const held = await cluster.holding(own.database, 'LOCK TABLE instances')
  const asked = askMany(repository)
  const refused = asked
    .slice(CONNECTIONS)
    .map((one) => expect(one).rejects.toThrow(/DATABASE|used/))
  await Promise.all(refused)
  expect(await connectionsOf(own.database)).toBe(CONNECTIONS)
  await held[Symbol.asyncDispose]()
  expect(await Promise.all(asked.slice(0, CONNECTIONS))).toEqual([undefined, undefined])
})

test('what a role or a database has set does not make writes less durable', async () => {
  const own = await cluster.newDatabase()
  await cluster.sql(own.database, `ALTER DATABASE ${own.database} SET synchronous_commit = off`)
  const repository = await opened(own)
  // A trigger writes down what was in force when the row was written.
  await cluster.sql(
    own.database,
    `CREATE TABLE seen (setting TEXT);
     CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN INSERT INTO seen SELECT current_setting(name) FROM unnest(ARRAY['synchronous_commit',
       'statement_timeout', 'lock_timeout']) AS name; RETURN NEW; END $$;
     CREATE TRIGGER look AFTER INSERT ON exchanged FOR EACH ROW EXECUTE FUNCTION look()`,
  )
  await repository.takeOnce({ id: 'ab'.repeat(32), expiresAtMs: NOW_MS + 1 }, NOW_MS)
  const { rows } = await cluster.sql(own.database, 'SELECT setting FROM seen')
  expect(rows.map(({ setting }) => setting)).toEqual(['on', '20s', '10s'])
})
