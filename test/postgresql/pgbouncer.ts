import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PostgresqlPlace } from '../../src/registrar-repository/postgresql-session.ts'
import type { Cluster } from './cluster.ts'

const PORT = 6432

/** Debian's pgbouncer before a database, in transaction mode with few connections. @returns it in place of the server */
export async function startPgbouncer(
  cluster: Cluster,
  place: PostgresqlPlace,
): Promise<AsyncDisposable & { readonly place: PostgresqlPlace }> {
  const directory = join(cluster.directory, `bouncer-${place.database}`)
  await mkdir(directory)
  if (process.getuid?.() === 0) await chown(directory, cluster.uid, cluster.uid)
  const password = (await readFile(cluster.passwordFile, 'utf8')).trim()
  const users = join(directory, 'users')
  await writeFile(users, `"${place.user}" "${password}"\n`)
  const config = join(directory, 'pgbouncer.ini')
  await writeFile(
    config,
    `[databases]
* = host=${place.host} port=${place.port}
[pgbouncer]
pool_mode = transaction
default_pool_size = 4
listen_addr =
listen_port = ${PORT}
unix_socket_dir = ${directory}
auth_type = scram-sha-256
auth_file = ${users}
`,
  )
  const { uid } = cluster
  const program = spawn('/usr/sbin/pgbouncer', [config], { uid, stdio: 'ignore' })
  const exited = once(program, 'exit')
  const socket = join(directory, `.s.PGSQL.${PORT}`)
  while (!existsSync(socket)) {
    if (program.exitCode !== null) throw new Error(`pgbouncer ended with ${program.exitCode}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    place: { ...place, host: directory, port: PORT },
    [Symbol.asyncDispose]: async () => {
      program.kill('SIGKILL')
      await exited
    },
  }
}
