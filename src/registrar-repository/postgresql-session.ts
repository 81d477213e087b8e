import pg from 'pg'
import { MetabindError, nodeErrorCode } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { Row } from './repository-rows.ts'
import { StaleWrite } from './stale-write.ts'

/** Where the server is, and what is asked of it. Values of `[storage.postgresql]`, and what its files have. */
export interface PostgresqlPlace {
  /** A name, an address, or the directory of a Unix socket. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** Asked for at each connection; undefined if the server asks for none. */
  readonly password: () => Secret<string> | undefined
  /** Authorities in PEM, or those that Node knows; undefined: no TLS. */
  readonly tls: { readonly ca: string | undefined } | undefined
  /** Connections at most, and how long one is waited for, to be free or made. */
  readonly connections: number
  readonly waitMs: number
  readonly statementMs: number
  readonly lockMs: number
}

export interface Rows {
  readonly rows: readonly Row[]
  /** How many a write has written. */
  readonly count: number
}

/** Runs a statement of the transaction. @throws MetabindError REGISTRAR_DATABASE, whose cause has its SQLSTATE */
export type Query = (sql: string, ...values: readonly unknown[]) => Promise<Rows>

/** What only one transaction at a time does, of all replicas: keys of advisory locks that end with the transaction. */
const LOCKS = {
  migrate: 1,
  pending: 2,
  chain: 3,
  signingKeys: 4,
  statuses: 5,
  strangers: 6,
  checkpoints: 7,
} as const
export type LockName = keyof typeof LOCKS

/** Of all advisory locks in a database, those of registrars. */
const LOCK_CLASS = 0x6d_62_72_67
/** After the server should have given up by itself: it is not there any more. */
const UNANSWERED_MS = 2000
/** A replica that stands still within a transaction keeps its locks no longer. */
const IDLE_IN_TRANSACTION_MS = 10_000
const CONNECTION_LIFE_SECONDS = 1800
const CONNECTION_IDLE_MS = 60_000
const TRIES = 5

const SERIALIZATION_FAILURE = '40001'
const DEADLOCK = '40P01'
export const UNIQUE_VIOLATION = '23505'
// Of values and constraints, of others in the way, and out of time.
const STATES_OF_STATEMENTS = /^(?:2[23]|40|55|57014)/

export interface PostgresqlSession {
  /** One statement, which is durable when it resolves; in one round trip. */
  run: Query
  /**
   * All of it or nothing: `act` may run anew when others were in its way, and what it throws undoes it. Each statement
   * sees what was committed before it.
   */
  transaction<T>(act: (query: Query) => Promise<T>): Promise<T>
  /** Waits for transactions under way. */
  close(): Promise<void>
}

/** Waits for its turn until the transaction ends. */
export function takeLock(query: Query, name: LockName): Promise<Rows> {
  return query('SELECT pg_advisory_xact_lock($1, $2)', LOCK_CLASS, LOCKS[name])
}

/** @returns the five characters of what the server refused, if it did */
export function sqlState(error: unknown): string | undefined {
  const cause = error instanceof MetabindError ? error.cause : error
  return cause instanceof pg.DatabaseError ? cause.code : undefined
}

/** Connections are made when they are needed: whether the server is there shows then. */
export function postgresqlSession(place: PostgresqlPlace): PostgresqlSession {
  const pool = poolOf(place)
  const begin = beginOf(place)
  const connected = async <T>(act: (client: pg.PoolClient) => Promise<T>): Promise<T> => {
    const client = await ours(pool.connect())
    let isUsable = false
    try {
      const result = await act(client)
      isUsable = true
      return result
    } catch (error) {
      isUsable = isOfStatement(error) && (await isRolledBack(client))
      throw error
    } finally {
      client.release(!isUsable)
    }
  }
  return {
    run: (sql, ...values) => again(() => connected((client) => alone(client, begin, sql, values))),
    transaction: (act) => again(() => connected((client) => whole(client, begin, act))),
    close: () => pool.end(),
  }
}

function poolOf(place: PostgresqlPlace): pg.Pool {
  const { host, port, user, database, password, tls, connections, waitMs, statementMs } = place
  const pool = new pg.Pool({
    ...{ host, port, user, database },
    // Whatever it gives, pg looks for no password anywhere else.
    password: () => password()?.reveal() ?? '',
    ssl: tls === undefined ? false : { rejectUnauthorized: true, ...tls },
    enableChannelBinding: tls !== undefined,
    application_name: 'metabind-registrar',
    keepAlive: true,
    pipeline: true,
    max: connections,
    connectionTimeoutMillis: waitMs,
    query_timeout: statementMs + UNANSWERED_MS,
    idleTimeoutMillis: CONNECTION_IDLE_MS,
    maxLifetimeSeconds: CONNECTION_LIFE_SECONDS,
  })
  // Whoever uses such a connection next, or uses it now, is told. Without a listener the process would end.
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  return pool
}

/**
 * Limits and durability are those of the transaction, not of the connection: behind a pooler such as pgbouncer another
 * transaction may have another connection, and what is set on one stays for others.
 */
function beginOf({ statementMs, lockMs }: PostgresqlPlace): string {
  return [
    'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE',
    `SET LOCAL statement_timeout = ${statementMs}`,
    `SET LOCAL lock_timeout = ${lockMs}`,
    `SET LOCAL idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_MS}`,
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
  ].join('; ')
}

/** All of it is sent before the first answer. If one fails, the server makes of the COMMIT a ROLLBACK. */
async function alone(
  client: pg.PoolClient,
  begin: string,
  sql: string,
  values: readonly unknown[],
): Promise<Rows> {
  const [, result, ended] = await allOf([
    ours(client.query(begin)),
    ours(client.query<Row>(sql, [...values])),
    ours(client.query('COMMIT')),
  ])
  requireCommitted(ended)
  return rowsOf(result)
}

async function whole<T>(
  client: pg.PoolClient,
  begin: string,
  act: (query: Query) => Promise<T>,
): Promise<T> {
  const query: Query = async (sql, ...values) =>
    rowsOf(await ours(client.query<Row>(sql, [...values])))
  // The first statement of `act` waits for no answer to this.
  const [, result] = await allOf([ours(client.query(begin)), act(query)])
  requireCommitted(await ours(client.query('COMMIT')))
  return result
}

/** Waits for all of them, so that nothing is under way on the connection any more. @throws what the first threw */
async function allOf<T extends readonly unknown[]>(
  promises: readonly [...T],
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}

function requireCommitted(ended: pg.QueryResult): void {
  if (ended.command !== 'COMMIT') {
    throw new MetabindError('REGISTRAR_DATABASE', 'What was written was undone.')
  }
}

function rowsOf(result: pg.QueryResult<Row>): Rows {
  return { rows: result.rows, count: result.rowCount ?? 0 }
}

async function ours<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise
  } catch (error) {
    throw new MetabindError('REGISTRAR_DATABASE', nodeErrorCode(error), error)
  }
}

/** Whether the connection is as good as before: of what else is wrong with it nothing is known. */
function isOfStatement(error: unknown): boolean {
  return error instanceof StaleWrite || STATES_OF_STATEMENTS.test(sqlState(error) ?? '')
}

async function isRolledBack(client: pg.PoolClient): Promise<boolean> {
  try {
    await client.query('ROLLBACK')
    return true
  } catch {
    return false
  }
}

/** Undone by the server as others were in the way: nothing of it was written. */
async function again<T>(act: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await act()
    } catch (error) {
      if (tries === TRIES || ![SERIALIZATION_FAILURE, DEADLOCK].includes(sqlState(error) ?? '')) {
        throw error
      }
    }
  }
}
