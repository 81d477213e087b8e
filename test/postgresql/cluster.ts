import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chown, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import type { PostgresqlPlace } from '../../src/registrar-repository/postgresql-session.ts'
import { Secret } from '../../src/secret.ts'
import { scratchDirectory } from '../harness/scratch.ts'

/** A PostgreSQL of a test's own, on a Unix socket in a directory of its own, as another user if the tests are root's. */
export interface Cluster extends AsyncDisposable {
  /** Of its socket, and of what belongs to it. */
  readonly directory: string
  readonly passwordFile: string
  /** The uid that it runs as, and whatever stands in front of it. */
  readonly uid: number
  /** A new database in it. */
  newDatabase(): Promise<PostgresqlPlace>
  /** SQL beside the registrars, as the superuser. */
  sql(database: string, text: string): Promise<pg.QueryResult>
  /** Does it in a transaction, and holds what that took until the end. */
  holding(database: string, text: string): Promise<AsyncDisposable>
  /** `immediate` is a crash. */
  stop(mode: 'fast' | 'immediate'): Promise<void>
  start(): Promise<void>
}

/** Of the name of its socket; nothing listens on it. */
const SOCKET_PORT = 5432
const USER = 'registrar'
const CONNECTIONS_MAX = 60

/** @param tcpPort listened on besides, on loopback */
export async function startCluster(
  tcpPort?: number,
  ...settings: readonly string[]
): Promise<Cluster> {
  const port = tcpPort ?? SOCKET_PORT
  const scratch = await scratchDirectory()
  const directory = scratch.path
  const { uid, gid } = await owner(directory)
  const bin = await binaries()
  const data = join(directory, 'data')
  const password = randomBytes(16).toString('hex')
  const passwordFile = join(directory, 'password')
  await writeFile(passwordFile, `${password}\n`, { mode: 0o644 })
  const auth = ['--auth=scram-sha-256', `--pwfile=${passwordFile}`, `--username=${USER}`]
  const options = { uid, gid, cwd: directory, stdio: 'ignore' } as const
  execFileSync(join(bin, 'initdb'), [...auth, '--encoding=UTF8', '--locale=C.UTF-8', '-N', data], {
    ...options,
  })
  const given = [
    `unix_socket_directories=${directory}`,
    `max_connections=${CONNECTIONS_MAX}`,
    `port=${port}`,
    `listen_addresses=${tcpPort === undefined ? '' : '127.0.0.1'}`,
    ...settings,
  ].flatMap((setting) => ['-c', setting])
  let server: ReturnType<typeof spawn> | undefined
  const place = (database: string): PostgresqlPlace => ({
    ...{ host: directory, port, user: USER, database },
    password: () => new Secret(password),
    tls: undefined,
    ...{ connections: 8, waitMs: 10_000, statementMs: 20_000, lockMs: 10_000 },
  })
  const start = async () => {
    server = spawn(join(bin, 'postgres'), ['-D', data, ...given], options)
    for (;;) {
      try {
        await asked(place('postgres'), 'SELECT 1')
        return
      } catch (error) {
        if (server.exitCode !== null) throw error
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }
  const stop = async (mode: 'fast' | 'immediate') => {
    if (server === undefined || server.exitCode !== null) return
    const exited = once(server, 'exit')
    server.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
    await exited
  }
  await start()
  let databases = 0
  return {
    ...{ directory, passwordFile, uid, start, stop },
    newDatabase: async () => {
      databases += 1
      await asked(place('postgres'), `CREATE DATABASE test_${databases}`)
      return place(`test_${databases}`)
    },
    sql: (database, text) => asked(place(database), text),
    holding: async (database, text) => {
      const client = await connected(place(database))
      await client.query(`BEGIN; ${text}`)
      return { [Symbol.asyncDispose]: () => client.end() }
    },
    [Symbol.asyncDispose]: async () => {
      await stop('immediate')
      await scratch[Symbol.asyncDispose]()
    },
  }
}

async function connected(place: PostgresqlPlace): Promise<pg.Client> {
  const { host, port, user, database, password } = place
  const client = new pg.Client({ host, port, user, database, password: password()?.reveal() })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

async function asked(place: PostgresqlPlace, text: string): Promise<pg.QueryResult> {
  const client = await connected(place)
  try {
    return await client.query(text)
  } finally {
    await client.end()
  }
}

/** PostgreSQL does not run as root. */
async function owner(directory: string): Promise<{ uid: number; gid: number }> {
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres']))
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  if (self.uid !== 0) return self
  const postgres = { uid: id('-u'), gid: id('-g') }
  await chown(directory, postgres.uid, postgres.gid)
  return postgres
}

/** Debian has each version in a directory of its own, and none of them in PATH. */
async function binaries(): Promise<string> {
  const versions = '/usr/lib/postgresql'
  const [newest] = (await readdir(versions)).toSorted((one, other) => Number(other) - Number(one))
  return join(versions, newest ?? '', 'bin')
}

/** `[storage.postgresql]` for a place. */
export function storageToml(
  cluster: Cluster,
  { host, port, database, user }: PostgresqlPlace,
): string {
  return `[storage.postgresql]
host = "${host}"
port = ${port}
user = "${user}"
database = "${database}"
password_file = "${cluster.passwordFile}"
tls = "none"
wait_ms = 10000
`
}
