import { existsSync } from 'node:fs'
import { MetabindError, pathWithReason } from '../errors.ts'
import type { PostgresqlPlace } from '../registrar-repository/postgresql-session.ts'
import type { Repository } from '../registrar-repository/repository.ts'
import { Secret } from '../secret.ts'
import { readFileAtMost } from '../storage/read-at-most.ts'
import type { RegistrarConfig } from './registrar-config.ts'

type Storage = RegistrarConfig['storage']
type PostgresqlKeys = NonNullable<Storage['postgresql']>

const PASSWORD_BYTES_MAX = 4096
const CERTIFICATES_BYTES_MAX = 1_048_576

/**
 * The database that the configuration names. What speaks to it is loaded only then.
 *
 * @param ifEmpty what is done if no registrar has written to it yet
 * @throws MetabindError REGISTRAR_DATABASE, DIRECTORY_FAULT, DIRECTORY_UNSAFE, FILE_UNUSABLE
 */
export async function openRepository(
  { database, postgresql }: Storage,
  ifEmpty: 'make' | 'refuse',
): Promise<Repository> {
  if (postgresql !== undefined) {
    const { postgresqlRepository } = await import(
      '../registrar-repository/postgresql-repository.ts'
    )
    return postgresqlRepository(postgresqlPlace(postgresql), ifEmpty)
  }
  if (ifEmpty === 'refuse' && !existsSync(database)) {
    throw new MetabindError('REGISTRAR_DATABASE', `${database}: none is there.`)
  }
  const { sqliteRepository } = await import('../registrar-repository/sqlite-repository.ts')
  return sqliteRepository(database)
}

/** What the configuration says of it. @throws MetabindError FILE_UNUSABLE */
export function postgresqlPlace(keys: PostgresqlKeys): PostgresqlPlace {
  const { host, port, user, database, connections } = keys
  const { password_file: passwordFile, ca_file: caFile } = keys
  const ca = caFile === undefined ? undefined : textOf(caFile, CERTIFICATES_BYTES_MAX)
  return {
    ...{ host, port, user, database, connections },
    // Read at each connection, so that another password needs no restart.
    password: () => (passwordFile === undefined ? undefined : new Secret(passwordOf(passwordFile))),
    // On a Unix socket there is nobody in between.
    tls: keys.tls === 'none' || host.startsWith('/') ? undefined : { ca },
    waitMs: keys.wait_ms,
    statementMs: keys.statement_timeout_ms,
    lockMs: keys.lock_timeout_ms,
  }
}

/** One line: editors end it. */
function passwordOf(file: string): string {
  return textOf(file, PASSWORD_BYTES_MAX).replace(/\r?\n$/, '')
}

function textOf(file: string, bytesMax: number): string {
  try {
    return readFileAtMost(file, bytesMax).toString('utf8')
  } catch (error) {
    throw new MetabindError('FILE_UNUSABLE', pathWithReason(file, error), error)
  }
}
