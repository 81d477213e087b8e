import type { ChainHead } from '../audit/chain.ts'
import { MetabindError } from '../errors.ts'
import { type EnrolledInstance, enrolledInstanceSchema } from './enrolled-instance.ts'
import type {
  AudienceUse,
  NumberedCheckpoint,
  PendingEnrolment,
  Statuses,
  StoredSigningKey,
} from './repository.ts'

/** A row as a database gives it, by the names of its columns, which are the same in all. */
export type Row = Readonly<Record<string, unknown>>

/** @throws MetabindError REGISTRAR_DATABASE if it has another form */
export function instanceOf({ document }: Row): EnrolledInstance {
  const parsed = enrolledInstanceSchema.safeParse(JSON.parse(String(document)))
  if (parsed.success) return parsed.data
  throw new MetabindError('REGISTRAR_DATABASE', 'An instance is of another form.', parsed.error)
}

export function pendingOf(row: Row): PendingEnrolment {
  return {
    id: String(row.id),
    nonce: String(row.nonce),
    source: String(row.source),
    kept: bytesOf(row.kept),
    generation: Number(row.generation),
    nonceIssuedAtMs: Number(row.nonce_issued_at_ms),
    expiresAtMs: Number(row.expires_at_ms),
    reply: row.reply === null ? undefined : String(row.reply),
  }
}

export function storedKeyOf(row: Row): StoredSigningKey {
  return {
    kid: String(row.kid),
    kind: String(row.algorithm),
    startsAtMs: Number(row.starts_at_ms),
    publicJwk: String(row.public_jwk),
    sealed: bytesOf(row.sealed),
  }
}

export function untilOf(row: Row | undefined): number | undefined {
  return row && Number(row.expires_at_ms)
}

export function useOf({ audience, tokens, last_at_ms: lastAtMs }: Row): AudienceUse {
  return { audience: String(audience), tokens: Number(tokens), lastAtMs: Number(lastAtMs) }
}

/** @param rows one for each index: the revoked ones, and the highest of all */
export function statusesOf(rows: readonly Row[]): Statuses {
  const count = Math.max(0, ...rows.map(({ idx }) => Number(idx) + 1))
  const revoked = rows.filter((row) => row.revoked_at_ms !== null)
  return { count, revoked: revoked.map(({ idx }) => Number(idx)) }
}

export function statesOf(rows: readonly Row[]): ReadonlyMap<string, number> {
  return new Map(rows.map(({ state, count }) => [String(state), Number(count)]))
}

export function checkpointOf({ number, seq, keys, jws }: Row): NumberedCheckpoint {
  return { number: Number(number), seq: Number(seq), keys: String(keys), jws: String(jws) }
}

export function headOf({ seq, hash }: Row): ChainHead {
  return { seq: Number(seq), hash: String(hash) }
}

function bytesOf(value: unknown): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value)
  throw new MetabindError('REGISTRAR_DATABASE', 'A column is of another type.')
}
