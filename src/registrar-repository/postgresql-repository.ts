import { MetabindError } from '../errors.ts'
import type { EnrolledInstance } from './enrolled-instance.ts'
import { chainedLines } from './event-chain.ts'
import { type IfEmpty, migratePostgresql } from './postgresql-migrate.ts'
import {
  type PostgresqlPlace,
  type PostgresqlSession,
  postgresqlSession,
  type Query,
  sqlState,
  takeLock,
  UNIQUE_VIOLATION,
} from './postgresql-session.ts'
import {
  type Change,
  type Exchanged,
  type PendingEnrolment,
  type RegistrarEvent,
  type Repository,
  STATUS_KEPT_MS,
  type StoredCheckpoint,
  type StoredSigningKey,
} from './repository.ts'
import {
  checkpointOf,
  headOf,
  instanceOf,
  pendingOf,
  statesOf,
  statusesOf,
  storedKeyOf,
  untilOf,
  useOf,
} from './repository-rows.ts'
import { StaleWrite } from './stale-write.ts'

/** How many exchanges there are from one clearing away of what has expired to the next, and how much that clears. */
const EXCHANGES_PER_SWEEP = 256
const SWEPT_MAX = 4096
/** What has expired by one replica's clock may be good by another's, and is still known then. */
const CLOCKS_APART_MS = 120_000

/** A database that replicas share. @throws MetabindError REGISTRAR_DATABASE */
export async function postgresqlRepository(
  place: PostgresqlPlace,
  ifEmpty: IfEmpty,
): Promise<Repository> {
  await migratePostgresql(place, ifEmpty)
  return repositoryOn(postgresqlSession(place))
}

function repositoryOn(session: PostgresqlSession): Repository {
  const { run } = session
  const sweepExpired = everySoOften(EXCHANGES_PER_SWEEP)
  return {
    addPending: (pending, bounds, nowMs) =>
      session.transaction((query) => addPending(query, pending, bounds, nowMs)),
    pending: async (id, nowMs) => {
      const { rows } = await run(
        'SELECT * FROM pending WHERE id = $1 AND expires_at_ms > $2',
        id,
        nowMs,
      )
      return rows.map(pendingOf)[0]
    },
    instance: async (iid) => {
      const { rows } = await run('SELECT document FROM instances WHERE iid = $1', iid)
      return rows.map(instanceOf)[0]
    },
    related: async ({ iid, dialect, instanceId, ekName, akName }) => {
      const { rows } = await run(RELATED, iid, dialect, instanceId, ekName, akName)
      return rows.map(instanceOf)
    },
    instances: async (after, count) => {
      const sql = 'SELECT document FROM instances WHERE iid > $1 ORDER BY iid LIMIT $2'
      return (await run(sql, after, count)).rows.map(instanceOf)
    },
    commit: (change, nowMs) => commit(session, change, nowMs),
    states: async () => statesOf((await run(STATES)).rows),
    signingKeys: async () => {
      const { rows } = await run('SELECT * FROM signing_keys ORDER BY starts_at_ms, kid')
      return rows.map(storedKeyOf)
    },
    addSigningKey: (key, afterMs) =>
      session.transaction((query) => addSigningKey(query, key, afterMs)),
    removeSigningKeys: async (kids) => {
      await run('DELETE FROM signing_keys WHERE kid = ANY ($1)', kids)
    },
    keepUntil: async (id, expiresAtMs) => void (await run(KEEP, id, expiresAtMs)),
    keptUntil: async (id) =>
      untilOf((await run('SELECT expires_at_ms FROM exchanged WHERE id = $1', id)).rows[0]),
    takeOnce: async ({ id, expiresAtMs }, nowMs) => {
      if (sweepExpired()) await run(SWEEP, nowMs - CLOCKS_APART_MS, SWEPT_MAX)
      return (await run(TAKE_ONCE, id, expiresAtMs, nowMs)).count === 1
    },
    exchange: async (exchanged, nowMs) => {
      if (sweepExpired()) await run(SWEEP, nowMs - CLOCKS_APART_MS, SWEPT_MAX)
      return exchange(run, exchanged, nowMs)
    },
    statusIndex: async (iid, nowMs) =>
      (await goodStatus(run, iid)) ?? session.transaction((query) => newStatus(query, iid, nowMs)),
    statuses: async () => statusesOf((await run(STATUSES)).rows),
    uses: async (iid) => {
      const { rows } = await run('SELECT * FROM uses WHERE iid = $1 ORDER BY audience', iid)
      return rows.map(useOf)
    },
    events: async (afterSeq, count) => {
      const sql = 'SELECT line FROM events WHERE seq > $1 ORDER BY seq LIMIT $2'
      return (await run(sql, afterSeq, count)).rows.map(({ line }) => String(line))
    },
    addCheckpoint: (checkpoint) => session.transaction((query) => addCheckpoint(query, checkpoint)),
    checkpoints: async (afterNumber, count) => {
      const sql = 'SELECT * FROM checkpoints WHERE number > $1 ORDER BY number LIMIT $2'
      return (await run(sql, afterNumber, count)).rows.map(checkpointOf)
    },
    lastCheckpoint: async () => {
      const { rows } = await run('SELECT * FROM checkpoints ORDER BY number DESC LIMIT 1')
      return rows.map(checkpointOf)[0]
    },
    close: () => session.close(),
  }
}

const RELATED = `
  SELECT document FROM instances WHERE iid = $1
  UNION SELECT document FROM instances WHERE dialect = $2 AND instance_id = $3 AND state <> 'evicted'
  UNION SELECT document FROM instances WHERE ek_name = $4 AND state <> 'evicted'
  UNION SELECT document FROM instances WHERE ak_name = $5 AND state <> 'evicted'`

/** The locks are taken in this order by all: strangers, instances by their iids, the pending enrolment, the chain. */
async function commit(session: PostgresqlSession, change: Change, nowMs: number): Promise<boolean> {
  const instances = change.instances.toSorted((one, other) => (one.iid < other.iid ? -1 : 1))
  try {
    await session.transaction(async (query) => {
      await requireRoomForStranger(query, change)
      for (const instance of instances) {
        await writeInstance(query, instance)
        if (instance.state !== 'active') await query(REVOKE_STATUS, instance.iid, nowMs)
      }
      if (change.finish !== undefined) await finishPending(query, change.finish)
      if (change.events.length > 0) await appendEvents(query, change.events, nowMs)
    })
    return true
  } catch (error) {
    if (error instanceof StaleWrite) return false
    throw error
  }
}

const STATES = 'SELECT state, count(*) AS count FROM instances GROUP BY state'
const STRANGERS = `
  SELECT count(*) AS count FROM instances
  WHERE state IN ('held', 'suspended') AND (document::jsonb ->> 'anchor') = 'none'`

/** @throws MetabindError ENROL_CROWDED */
async function requireRoomForStranger(query: Query, { strangersMax }: Change): Promise<void> {
  if (strangersMax === undefined) return
  const [, { rows }] = await Promise.all([takeLock(query, 'strangers'), query(STRANGERS)])
  if (Number(rows[0]?.count) >= strangersMax) throw new MetabindError('ENROL_CROWDED')
}

const INSERT_INSTANCE = `
  INSERT INTO instances (iid, revision, dialect, instance_id, ek_name, ak_name, state, document)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
const UPDATE_INSTANCE = `
  UPDATE instances SET revision = $2, dialect = $3, instance_id = $4, ek_name = $5, ak_name = $6, state = $7,
    document = $8
  WHERE iid = $1 AND revision = $2 - 1`

/** The one conditional write: who waited for another's sees its revision, and writes nothing. */
async function writeInstance(query: Query, instance: EnrolledInstance): Promise<void> {
  const { iid, revision, dialect, instanceId, ekName, akName, state } = instance
  const columns = [iid, revision, dialect, instanceId, ekName, akName, state]
  const sql = revision === 1 ? INSERT_INSTANCE : UPDATE_INSTANCE
  try {
    const { count } = await query(sql, ...columns, JSON.stringify(instance))
    if (count !== 1) throw new StaleWrite()
  } catch (error) {
    // Another instance of its id or of its TPM has come meanwhile.
    throw sqlState(error) === UNIQUE_VIOLATION ? new StaleWrite() : error
  }
}

async function finishPending(
  query: Query,
  { id, reply }: NonNullable<Change['finish']>,
): Promise<void> {
  const sql = 'UPDATE pending SET reply = $2 WHERE id = $1 AND reply IS NULL'
  if ((await query(sql, id, reply)).count !== 1) throw new StaleWrite()
}

async function appendEvents(
  query: Query,
  events: readonly RegistrarEvent[],
  nowMs: number,
): Promise<void> {
  const [, { rows }] = await Promise.all([
    takeLock(query, 'chain'),
    query('SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1'),
  ])
  const lines = chainedLines(rows.map(headOf)[0], events, nowMs)
  await query(
    'INSERT INTO events (seq, hash, line) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])',
    lines.map(({ head }) => head.seq),
    lines.map(({ head }) => head.hash),
    lines.map(({ text }) => text),
  )
}

async function addCheckpoint(query: Query, { seq, keys, jws }: StoredCheckpoint): Promise<boolean> {
  const sql = `
    INSERT INTO checkpoints (number, seq, keys, jws)
    SELECT coalesce(max(number), 0) + 1, $1::bigint, $2, $3 FROM checkpoints
    ON CONFLICT (seq, keys) DO NOTHING`
  const [, { count }] = await Promise.all([
    takeLock(query, 'checkpoints'),
    query(sql, seq, keys, jws),
  ])
  return count === 1
}

async function addPending(
  query: Query,
  pending: PendingEnrolment,
  bounds: { readonly pending: number; readonly perSource: number },
  nowMs: number,
): Promise<'added' | 'used' | 'full'> {
  const { id, nonce, source, kept, generation } = pending
  const { nonceIssuedAtMs, expiresAtMs } = pending
  const [, , { rows }] = await Promise.all([
    takeLock(query, 'pending'),
    query('DELETE FROM pending WHERE expires_at_ms <= $1', nowMs - CLOCKS_APART_MS),
    query(WAITING, nonce, source, nowMs),
  ])
  const { used, waiting, of_source: ofSource } = rows[0] ?? {}
  if (used === true) return 'used'
  if (Number(ofSource) >= bounds.perSource) return 'full'
  const isFull = Number(waiting) >= bounds.pending
  if (isFull && (await query(MAKE_ROOM, Number(ofSource) + 1, nowMs)).count !== 1) return 'full'
  const values = [id, nonce, source, kept, generation, nonceIssuedAtMs, expiresAtMs]
  await query('INSERT INTO pending VALUES ($1, $2, $3, $4, $5, $6, $7, NULL)', ...values)
  return 'added'
}

const MAKE_ROOM = `
  DELETE FROM pending WHERE id = (
    SELECT id FROM pending WHERE reply IS NULL AND expires_at_ms > $2 AND source = (
      SELECT source FROM pending WHERE reply IS NULL AND expires_at_ms > $2
      GROUP BY source HAVING count(*) > $1 ORDER BY count(*) DESC LIMIT 1)
    ORDER BY expires_at_ms LIMIT 1)`

const WAITING = `
  SELECT EXISTS (SELECT FROM pending WHERE nonce = $1) AS used,
    (SELECT count(*) FROM pending WHERE reply IS NULL AND expires_at_ms > $3) AS waiting,
    (SELECT count(*) FROM pending WHERE reply IS NULL AND expires_at_ms > $3 AND source = $2) AS of_source`

async function addSigningKey(
  query: Query,
  { kid, kind, startsAtMs, publicJwk, sealed }: StoredSigningKey,
  afterMs: number,
): Promise<boolean> {
  const values = [kid, kind, startsAtMs, publicJwk, sealed, afterMs]
  const [, { count }] = await Promise.all([
    takeLock(query, 'signingKeys'),
    query(
      `INSERT INTO signing_keys (kid, algorithm, starts_at_ms, public_jwk, sealed)
       SELECT $1, $2, $3::bigint, $4, $5::bytea
       WHERE NOT EXISTS (SELECT FROM signing_keys WHERE algorithm = $2 AND starts_at_ms > $6)`,
      ...values,
    ),
  ])
  return count === 1
}

/** Of two that exchange one, the second waits for the first and then counts nothing. */
async function exchange(
  query: Query,
  { id, expiresAtMs, iid, audience }: Exchanged,
  nowMs: number,
): Promise<boolean> {
  const { count } = await query(EXCHANGE, id, expiresAtMs, iid, audience, nowMs)
  return count === 1
}

const TAKE_ONCE = `
  INSERT INTO exchanged (id, expires_at_ms) VALUES ($1, $2)
  ON CONFLICT (id) DO UPDATE SET expires_at_ms = excluded.expires_at_ms
    WHERE exchanged.expires_at_ms <= $3`

const KEEP = `
  INSERT INTO exchanged (id, expires_at_ms) VALUES ($1, $2)
  ON CONFLICT (id) DO UPDATE SET expires_at_ms = excluded.expires_at_ms`

const EXCHANGE = `
  WITH fresh AS (
    INSERT INTO exchanged (id, expires_at_ms) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET expires_at_ms = excluded.expires_at_ms
      WHERE exchanged.expires_at_ms <= $5
    RETURNING id
  )
  INSERT INTO uses (iid, audience, tokens, last_at_ms) SELECT $3, $4, 1, $5::bigint FROM fresh
  ON CONFLICT (iid, audience) DO UPDATE SET tokens = uses.tokens + 1,
    last_at_ms = greatest(uses.last_at_ms, excluded.last_at_ms)`

const REVOKE_STATUS =
  'UPDATE statuses SET revoked_at_ms = $2 WHERE iid = $1 AND revoked_at_ms IS NULL'
const STATUSES = `
  SELECT idx, revoked_at_ms FROM statuses
  WHERE revoked_at_ms IS NOT NULL OR idx = (SELECT max(idx) FROM statuses)`
const NEW_STATUS = `
  INSERT INTO statuses (idx, iid) SELECT coalesce(
    (SELECT idx FROM statuses WHERE revoked_at_ms <= $2 ORDER BY revoked_at_ms, idx LIMIT 1),
    (SELECT max(idx) + 1 FROM statuses), 0), $1
  ON CONFLICT (idx) DO UPDATE SET iid = excluded.iid, revoked_at_ms = NULL
  RETURNING idx`

async function goodStatus(query: Query, iid: string): Promise<number | undefined> {
  const sql = 'SELECT idx FROM statuses WHERE iid = $1 AND revoked_at_ms IS NULL'
  return (await query(sql, iid)).rows.map(({ idx }) => Number(idx))[0]
}

/** Whoever makes the instance another than active waits for this, or this for them. */
async function newStatus(query: Query, iid: string, nowMs: number): Promise<number | undefined> {
  const sql = "SELECT FROM instances WHERE iid = $1 AND state = 'active' FOR SHARE"
  if ((await query(sql, iid)).rows.length === 0) return undefined
  await takeLock(query, 'statuses')
  const other = await goodStatus(query, iid)
  if (other !== undefined) return other
  const { rows } = await query(NEW_STATUS, iid, nowMs - STATUS_KEPT_MS)
  return rows.map(({ idx }) => Number(idx))[0]
}

/** Replicas clear away together: none waits for what another does already. */
const SWEEP = `
  DELETE FROM exchanged WHERE id IN (
    SELECT id FROM exchanged WHERE expires_at_ms <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`

function everySoOften(times: number): () => boolean {
  let count = 0
  return () => {
    count += 1
    return count % times === 1
  }
}
