/**
 * The schema, migration by migration, as in sqlite-schema.ts: number for number the same tables, for another database.
 * Each runs once, in a transaction with its row in `schema_versions`. One that was released is never changed. It adds and
 * takes nothing away, as replicas of the version before go on beside it.
 *
 * Text is compared byte by byte: indexes in the order of a language are broken when its library changes it.
 */
export const POSTGRESQL_MIGRATIONS: readonly string[] = [
  `CREATE TABLE instances (
     iid TEXT COLLATE "C" PRIMARY KEY,
     revision BIGINT NOT NULL,
     dialect TEXT COLLATE "C" NOT NULL,
     instance_id TEXT COLLATE "C" NOT NULL,
     ek_name TEXT COLLATE "C" NOT NULL,
     ak_name TEXT COLLATE "C" NOT NULL,
     state TEXT COLLATE "C" NOT NULL,
     document TEXT NOT NULL
   );
   CREATE UNIQUE INDEX instances_id ON instances (dialect, instance_id) WHERE state <> 'evicted';
   CREATE UNIQUE INDEX instances_ek ON instances (ek_name) WHERE state <> 'evicted';
   CREATE UNIQUE INDEX instances_ak ON instances (ak_name) WHERE state <> 'evicted';
   CREATE INDEX instances_all_ids ON instances (dialect, instance_id);

   CREATE TABLE pending (
     id TEXT COLLATE "C" PRIMARY KEY,
     nonce TEXT COLLATE "C" NOT NULL UNIQUE,
     source TEXT COLLATE "C" NOT NULL,
     kept BYTEA NOT NULL,
     generation BIGINT NOT NULL,
     nonce_issued_at_ms BIGINT NOT NULL,
     expires_at_ms BIGINT NOT NULL,
     reply TEXT
   );
   CREATE INDEX pending_expiry ON pending (expires_at_ms);
   CREATE INDEX pending_source ON pending (source) WHERE reply IS NULL;

   CREATE TABLE events (
     seq BIGINT PRIMARY KEY,
     hash TEXT NOT NULL,
     line TEXT NOT NULL
   );`,

  `CREATE TABLE signing_keys (
     kid TEXT COLLATE "C" PRIMARY KEY,
     algorithm TEXT COLLATE "C" NOT NULL,
     starts_at_ms BIGINT NOT NULL,
     public_jwk TEXT NOT NULL,
     sealed BYTEA NOT NULL
   );

   CREATE TABLE exchanged (
     id TEXT COLLATE "C" PRIMARY KEY,
     expires_at_ms BIGINT NOT NULL
   );
   CREATE INDEX exchanged_expiry ON exchanged (expires_at_ms);

   CREATE TABLE uses (
     iid TEXT COLLATE "C" NOT NULL,
     audience TEXT COLLATE "C" NOT NULL,
     tokens BIGINT NOT NULL,
     last_at_ms BIGINT NOT NULL,
     PRIMARY KEY (iid, audience)
   );`,

  `CREATE TABLE statuses (
     idx BIGINT PRIMARY KEY,
     iid TEXT COLLATE "C" NOT NULL,
     revoked_at_ms BIGINT
   );
   CREATE UNIQUE INDEX statuses_good ON statuses (iid) WHERE revoked_at_ms IS NULL;
   CREATE INDEX statuses_revoked ON statuses (revoked_at_ms) WHERE revoked_at_ms IS NOT NULL;`,

  `CREATE INDEX instances_state ON instances (state);
   CREATE INDEX instances_strangers ON instances (iid)
     WHERE state IN ('held', 'suspended') AND (document::jsonb ->> 'anchor') = 'none';`,

  `CREATE TABLE checkpoints (
     number BIGINT PRIMARY KEY,
     seq BIGINT NOT NULL,
     keys TEXT COLLATE "C" NOT NULL,
     jws TEXT NOT NULL,
     UNIQUE (seq, keys)
   );`,
]
