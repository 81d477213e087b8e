/**
 * Migrations of the database, forward only: each is run once, in order, in a transaction of its own. One that was
 * released is never changed. `PRAGMA user_version` is how many have run.
 */
export const SQLITE_MIGRATIONS: readonly string[] = [
  `CREATE TABLE instances (
     iid TEXT PRIMARY KEY,
     revision INTEGER NOT NULL,
     dialect TEXT NOT NULL,
     instance_id TEXT NOT NULL,
     ek_name TEXT NOT NULL,
     ak_name TEXT NOT NULL,
     state TEXT NOT NULL,
     document TEXT NOT NULL
   ) STRICT, WITHOUT ROWID;
   -- What the decision looked up before it was written holds when it is written, too.
   CREATE UNIQUE INDEX instances_id ON instances (dialect, instance_id) WHERE state <> 'evicted';
   CREATE UNIQUE INDEX instances_ek ON instances (ek_name) WHERE state <> 'evicted';
   CREATE UNIQUE INDEX instances_ak ON instances (ak_name) WHERE state <> 'evicted';
   CREATE INDEX instances_all_ids ON instances (dialect, instance_id);

   CREATE TABLE pending (
     id TEXT PRIMARY KEY,
     nonce TEXT NOT NULL UNIQUE,
     source TEXT NOT NULL,
     kept BLOB NOT NULL,
     generation INTEGER NOT NULL,
     nonce_issued_at_ms INTEGER NOT NULL,
     expires_at_ms INTEGER NOT NULL,
     reply TEXT
   ) STRICT;
   CREATE INDEX pending_expiry ON pending (expires_at_ms);
   -- Those that wait are counted for each that comes.
   CREATE INDEX pending_source ON pending (source) WHERE reply IS NULL;

   CREATE TABLE events (
     seq INTEGER PRIMARY KEY,
     hash TEXT NOT NULL,
     line TEXT NOT NULL
   ) STRICT;`,

  `CREATE TABLE signing_keys (
     kid TEXT PRIMARY KEY,
     algorithm TEXT NOT NULL,
     starts_at_ms INTEGER NOT NULL,
     public_jwk TEXT NOT NULL,
     sealed BLOB NOT NULL
   ) STRICT;

   CREATE TABLE exchanged (
     id TEXT PRIMARY KEY,
     expires_at_ms INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX exchanged_expiry ON exchanged (expires_at_ms);

   CREATE TABLE uses (
     iid TEXT NOT NULL,
     audience TEXT NOT NULL,
     tokens INTEGER NOT NULL,
     last_at_ms INTEGER NOT NULL,
     PRIMARY KEY (iid, audience)
   ) STRICT, WITHOUT ROWID;`,

  `CREATE TABLE statuses (
     idx INTEGER PRIMARY KEY,
     iid TEXT NOT NULL,
     revoked_at_ms INTEGER
   ) STRICT;
   CREATE UNIQUE INDEX statuses_good ON statuses (iid) WHERE revoked_at_ms IS NULL;
   CREATE INDEX statuses_revoked ON statuses (revoked_at_ms) WHERE revoked_at_ms IS NOT NULL;`,

  `CREATE INDEX instances_state ON instances (state);
   -- Made by strangers without an administrator's word, and counted for each one more.
   CREATE INDEX instances_strangers ON instances (iid)
     WHERE state IN ('held', 'suspended') AND json_extract(document, '$.anchor') = 'none';`,

  `CREATE TABLE checkpoints (
     number INTEGER PRIMARY KEY,
     seq INTEGER NOT NULL,
     keys TEXT NOT NULL,
     jws TEXT NOT NULL,
     UNIQUE (seq, keys)
   ) STRICT;`,
]
