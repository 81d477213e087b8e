import { MetabindError } from '../errors.ts'
import { type DatabaseState, SIGNING_KEYS_SINCE } from './database-state.ts'
import { POSTGRESQL_MIGRATIONS } from './postgresql-schema.ts'
import {
  type PostgresqlPlace,
  type PostgresqlSession,
  postgresqlSession,
  type Query,
  takeLock,
} from './postgresql-session.ts'
import { storedKeyOf } from './repository-rows.ts'

const SERVER_VERSION_MIN = 150_000
/** Another replica's migration is waited for, and an index of all instances takes its time. */
const LIMITS = { connections: 1, waitMs: 10_000, statementMs: 600_000, lockMs: 60_000 }

/** Whether tables are made in a database that has none. */
export type IfEmpty = 'make' | 'refuse'

/**
 * Sees that it can be used, and brings it to the present schema. Replicas that start together do it one after the other.
 *
 * @param migrations those of this version; others in tests
 * @throws MetabindError REGISTRAR_DATABASE
 */
export async function migratePostgresql(
  place: PostgresqlPlace,
  ifEmpty: IfEmpty,
  migrations: readonly string[] = POSTGRESQL_MIGRATIONS,
): Promise<void> {
  const session = postgresqlSession({ ...place, ...LIMITS })
  try {
    await migrate(session, ifEmpty, migrations)
  } finally {
    await session.close()
  }
}

async function migrate(
  session: PostgresqlSession,
  ifEmpty: IfEmpty,
  migrations: readonly string[],
): Promise<void> {
  await requireUsable(session)
  // Most starts find all done, and need no right to change tables.
  if ((await versionOf(session.run)) === migrations.length) return
  await session.transaction(async (query) => {
    await takeLock(query, 'migrate')
    const done = await versionOf(query)
    if (done > migrations.length) {
      throw new MetabindError('REGISTRAR_DATABASE', 'It was written by a later version.')
    }
    if (done === 0 && ifEmpty === 'refuse') {
      throw new MetabindError('REGISTRAR_DATABASE', 'No registrar has written to it.')
    }
    if (done === 0) await query(VERSIONS)
    for (const [at, migration] of migrations.entries()) {
      if (at < done) continue
      await query(migration)
      await query('INSERT INTO schema_versions (version) VALUES ($1)', at + 1)
    }
  })
}

const VERSIONS = `CREATE TABLE schema_versions (
  version INTEGER PRIMARY KEY,
  migrated_at TIMESTAMPTZ NOT NULL DEFAULT now()
)`

/** What is in it, which is not changed. @throws MetabindError REGISTRAR_DATABASE */
export async function postgresqlState(place: PostgresqlPlace): Promise<DatabaseState> {
  const session = postgresqlSession({ ...place, connections: 1 })
  try {
    await requireUsable(session)
    const version = await versionOf(session.run)
    if (version < SIGNING_KEYS_SINCE) return { version, keys: [] }
    return {
      version,
      keys: (await session.run('SELECT * FROM signing_keys')).rows.map(storedKeyOf),
    }
  } finally {
    await session.close()
  }
}

async function requireUsable({ run }: PostgresqlSession): Promise<void> {
  const { rows } = await run(
    "SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding",
  )
  const { version, encoding } = rows[0] ?? {}
  if (Number(version) < SERVER_VERSION_MIN) {
    throw new MetabindError('REGISTRAR_DATABASE', 'It is older than PostgreSQL 15.')
  }
  if (encoding !== 'UTF8') {
    throw new MetabindError('REGISTRAR_DATABASE', `Its encoding is ${encoding}, and not UTF8.`)
  }
}

// Of the catalogue as the statement sees it. to_regclass() asks a cache, which goes on saying that there is no table that
// another replica made in the meantime.
const IS_MADE = `SELECT FROM pg_catalog.pg_tables
  WHERE tablename = 'schema_versions' AND schemaname = ANY (current_schemas(false))`

/** How many migrations have run; 0 if none. */
async function versionOf(query: Query): Promise<number> {
  if ((await query(IS_MADE)).count === 0) return 0
  const { rows } = await query('SELECT max(version) AS version FROM schema_versions')
  return Number(rows[0]?.version)
}
