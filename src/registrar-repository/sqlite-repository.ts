import type { DatabaseSync } from 'node:sqlite'
import { MetabindError, nodeErrorCode } from '../errors.ts'
import type { EnrolledInstance } from './enrolled-instance.ts'
import { chainedLines } from './event-chain.ts'
import {
  type Change,
  type Exchanged,
  type Once,
  type PendingEnrolment,
  type RegistrarEvent,
  type Repository,
  STATUS_KEPT_MS,
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
import { inTransaction, openSqlite, type Prepare, preparedOnce } from './sqlite-file.ts'
import { StaleWrite } from './stale-write.ts'

const CONSTRAINT = 19

/** The embedded database. @throws MetabindError REGISTRAR_DATABASE, DIRECTORY_FAULT, DIRECTORY_UNSAFE */
export function sqliteRepository(path: string): Repository {
  const database = openSqlite(path)
  const prepare = preparedOnce(database)
  return {
    addPending: async (pending, bounds, nowMs) =>
      inTransaction(database, () => {
        prepare('DELETE FROM pending WHERE expires_at_ms <= ?').run(nowMs)
        if (isNonceUsed(prepare, pending.nonce)) return 'used'
        const ofSource = countPending(prepare, pending.source)
        if (ofSource >= bounds.perSource) return 'full'
        const isFull = countPending(prepare) >= bounds.pending
        if (isFull && !makeRoom(prepare, ofSource + 1)) return 'full'
        insertPending(prepare, pending)
        return 'added'
      }),
    pending: async (id, nowMs) => {
      const select = prepare('SELECT * FROM pending WHERE id = ? AND expires_at_ms > ?')
      const row = select.get(id, nowMs)
      return row && pendingOf(row)
    },
    instance: async (iid) => {
      const row = prepare('SELECT document FROM instances WHERE iid = ?').get(iid)
      return row && instanceOf(row)
    },
    related: async ({ iid, dialect, instanceId, ekName, akName }) =>
      prepare(
        `SELECT document FROM instances WHERE iid = ?
           UNION SELECT document FROM instances WHERE dialect = ? AND instance_id = ? AND state <> 'evicted'
           UNION SELECT document FROM instances WHERE ek_name = ? AND state <> 'evicted'
           UNION SELECT document FROM instances WHERE ak_name = ? AND state <> 'evicted'`,
      )
        .all(iid, dialect, instanceId, ekName, akName)
        .map(instanceOf),
    instances: async (after, count) =>
      prepare('SELECT document FROM instances WHERE iid > ? ORDER BY iid LIMIT ?')
        .all(after, count)
        .map(instanceOf),
    commit: async (change, nowMs) => commit(database, prepare, change, nowMs),
    states: async () => statesOf(prepare(STATES).all()),
    signingKeys: async () =>
      prepare('SELECT * FROM signing_keys ORDER BY starts_at_ms, kid').all().map(storedKeyOf),
    addSigningKey: async (key, afterMs) => addSigningKey(prepare, key, afterMs),
    removeSigningKeys: async (kids) =>
      inTransaction(database, () => {
        const remove = prepare('DELETE FROM signing_keys WHERE kid = ?')
        for (const kid of kids) remove.run(kid)
      }),
    keepUntil: async (id, expiresAtMs) =>
      void prepare('INSERT OR REPLACE INTO exchanged VALUES (?, ?)').run(id, expiresAtMs),
    keptUntil: async (id) =>
      untilOf(prepare('SELECT expires_at_ms FROM exchanged WHERE id = ?').get(id)),
    takeOnce: async (once, nowMs) => inTransaction(database, () => takeOnce(prepare, once, nowMs)),
    exchange: async (exchanged, nowMs) =>
      inTransaction(database, () => exchange(prepare, exchanged, nowMs)),
    statusIndex: async (iid, nowMs) =>
      goodStatus(prepare, iid) ??
      inTransaction(database, () => goodStatus(prepare, iid) ?? newStatus(prepare, iid, nowMs)),
    statuses: async () => statusesOf(prepare(STATUSES).all()),
    uses: async (iid) =>
      prepare('SELECT * FROM uses WHERE iid = ? ORDER BY audience').all(iid).map(useOf),
    events: async (afterSeq, count) =>
      prepare('SELECT line FROM events WHERE seq > ? ORDER BY seq LIMIT ?')
        .all(afterSeq, count)
        .map(({ line }) => String(line)),
    addCheckpoint: async ({ seq, keys, jws }) =>
      prepare(ADD_CHECKPOINT).run(seq, keys, jws).changes === 1,
    checkpoints: async (afterNumber, count) =>
      prepare('SELECT * FROM checkpoints WHERE number > ? ORDER BY number LIMIT ?')
        .all(afterNumber, count)
        .map(checkpointOf),
    lastCheckpoint: async () =>
      prepare('SELECT * FROM checkpoints ORDER BY number DESC LIMIT 1').all().map(checkpointOf)[0],
    close: async () => database.close(),
  }
}

function commit(database: DatabaseSync, prepare: Prepare, change: Change, nowMs: number): boolean {
  try {
    inTransaction(database, () => {
      requireRoomForStranger(prepare, change)
      for (const instance of change.instances) {
        writeInstance(prepare, instance)
        if (instance.state !== 'active') revokeStatus(prepare, instance, nowMs)
      }
      if (change.finish !== undefined) finishPending(prepare, change.finish)
      appendEvents(prepare, change.events, nowMs)
    })
    return true
  } catch (error) {
    if (error instanceof StaleWrite) return false
    throw error
  }
}

const ADD_CHECKPOINT = `
  INSERT OR IGNORE INTO checkpoints (number, seq, keys, jws)
  SELECT coalesce(max(number), 0) + 1, ?, ?, ? FROM checkpoints`

const STATES = 'SELECT state, count(*) AS count FROM instances GROUP BY state'
const STRANGERS = `
  SELECT count(*) AS count FROM instances
  WHERE state IN ('held', 'suspended') AND json_extract(document, '$.anchor') = 'none'`

/** @throws MetabindError ENROL_CROWDED */
function requireRoomForStranger(prepare: Prepare, { strangersMax }: Change): void {
  if (strangersMax === undefined || Number(prepare(STRANGERS).get()?.count) < strangersMax) return
  throw new MetabindError('ENROL_CROWDED')
}

/** The one conditional write: of two that were decided on the same revision, one is in vain. */
function writeInstance(prepare: Prepare, instance: EnrolledInstance): void {
  const { iid, revision, dialect, instanceId, ekName, akName, state } = instance
  const columns = [revision, dialect, instanceId, ekName, akName, state, JSON.stringify(instance)]
  const sql =
    revision === 1
      ? `INSERT INTO instances (revision, dialect, instance_id, ek_name, ak_name, state, document, iid)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
      : `UPDATE instances SET revision = ?, dialect = ?, instance_id = ?, ek_name = ?, ak_name = ?,
         state = ?, document = ? WHERE iid = ? AND revision = ? - 1`
  const values = revision === 1 ? [...columns, iid] : [...columns, iid, revision]
  try {
    if (prepare(sql).run(...values).changes !== 1) throw new StaleWrite()
  } catch (error) {
    // Another instance of its id or of its TPM has come meanwhile.
    throw isConstraint(error) ? new StaleWrite() : error
  }
}

function isConstraint(error: unknown): boolean {
  const isOfSqlite = nodeErrorCode(error) === 'ERR_SQLITE_ERROR' && error instanceof Error
  return isOfSqlite && 'errcode' in error && (Number(error.errcode) & 0xff) === CONSTRAINT
}

function finishPending(prepare: Prepare, { id, reply }: NonNullable<Change['finish']>): void {
  const update = prepare('UPDATE pending SET reply = ? WHERE id = ? AND reply IS NULL')
  if (update.run(reply, id).changes !== 1) throw new StaleWrite()
}

function appendEvents(prepare: Prepare, events: readonly RegistrarEvent[], nowMs: number): void {
  const last = prepare('SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1').get()
  const insert = prepare('INSERT INTO events (seq, hash, line) VALUES (?, ?, ?)')
  for (const { head, text } of chainedLines(last && headOf(last), events, nowMs)) {
    insert.run(head.seq, head.hash, text)
  }
}

function isNonceUsed(prepare: Prepare, nonce: string): boolean {
  return prepare('SELECT 1 FROM pending WHERE nonce = ?').get(nonce) !== undefined
}

function countPending(prepare: Prepare, source?: string): number {
  const row =
    source === undefined
      ? prepare('SELECT count(*) AS count FROM pending WHERE reply IS NULL').get()
      : prepare('SELECT count(*) AS count FROM pending WHERE reply IS NULL AND source = ?').get(
          source,
        )
  return Number(row?.count)
}

/** @returns false if no source has more than so many */
function makeRoom(prepare: Prepare, count: number): boolean {
  const removed = prepare(
    `DELETE FROM pending WHERE id = (
       SELECT id FROM pending WHERE reply IS NULL AND source = (
         SELECT source FROM pending WHERE reply IS NULL GROUP BY source HAVING count(*) > ?
         ORDER BY count(*) DESC LIMIT 1)
       ORDER BY expires_at_ms LIMIT 1)`,
  ).run(count)
  return removed.changes === 1
}

function insertPending(prepare: Prepare, pending: PendingEnrolment): void {
  const { id, nonce, source, kept, generation } = pending
  const { nonceIssuedAtMs, expiresAtMs } = pending
  prepare('INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?, ?, NULL)').run(
    id,
    nonce,
    source,
    kept,
    generation,
    nonceIssuedAtMs,
    expiresAtMs,
  )
}

function addSigningKey(prepare: Prepare, key: StoredSigningKey, afterMs: number): boolean {
  const { kid, kind, startsAtMs, publicJwk, sealed } = key
  const insert = prepare(
    `INSERT INTO signing_keys (kid, algorithm, starts_at_ms, public_jwk, sealed) SELECT ?, ?, ?, ?, ?
     WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE algorithm = ? AND starts_at_ms > ?)`,
  )
  const done = insert.run(kid, kind, startsAtMs, publicJwk, sealed, kind, afterMs)
  return done.changes === 1
}

function takeOnce(prepare: Prepare, { id, expiresAtMs }: Once, nowMs: number): boolean {
  prepare('DELETE FROM exchanged WHERE expires_at_ms <= ?').run(nowMs)
  const insert = prepare('INSERT OR IGNORE INTO exchanged VALUES (?, ?)')
  return insert.run(id, expiresAtMs).changes === 1
}

function exchange(prepare: Prepare, exchanged: Exchanged, nowMs: number): boolean {
  const { iid, audience } = exchanged
  if (!takeOnce(prepare, exchanged, nowMs)) return false
  prepare(
    `INSERT INTO uses VALUES (?, ?, 1, ?)
       ON CONFLICT DO UPDATE SET tokens = tokens + 1,
         last_at_ms = max(last_at_ms, excluded.last_at_ms)`,
  ).run(iid, audience, nowMs)
  return true
}

const STATUSES = `
  SELECT idx, revoked_at_ms FROM statuses
  WHERE revoked_at_ms IS NOT NULL OR idx = (SELECT max(idx) FROM statuses)`

function goodStatus(prepare: Prepare, iid: string): number | undefined {
  const select = prepare('SELECT idx FROM statuses WHERE iid = ? AND revoked_at_ms IS NULL')
  const row = select.get(iid)
  return row && Number(row.idx)
}

function newStatus(prepare: Prepare, iid: string, nowMs: number): number | undefined {
  const isActive = prepare("SELECT 1 FROM instances WHERE iid = ? AND state = 'active'").get(iid)
  if (isActive === undefined) return undefined
  const free = prepare(
    'SELECT idx FROM statuses WHERE revoked_at_ms <= ? ORDER BY revoked_at_ms, idx LIMIT 1',
  ).get(nowMs - STATUS_KEPT_MS)
  const next = prepare('SELECT coalesce(max(idx) + 1, 0) AS idx FROM statuses').get()
  const idx = Number((free ?? next)?.idx)
  prepare('INSERT OR REPLACE INTO statuses VALUES (?, ?, NULL)').run(idx, iid)
  return idx
}

function revokeStatus(prepare: Prepare, { iid }: EnrolledInstance, nowMs: number): void {
  prepare('UPDATE statuses SET revoked_at_ms = ? WHERE iid = ? AND revoked_at_ms IS NULL').run(
    nowMs,
    iid,
  )
}
