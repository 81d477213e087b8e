import type { StoredSigningKey } from './repository.ts'

/** What a look into a database finds, which changes nothing in it. */
export interface DatabaseState {
  /** How many migrations have run; 0 if no registrar has written to it. */
  readonly version: number
  readonly keys: readonly StoredSigningKey[]
}

/** The migration that made their table. */
export const SIGNING_KEYS_SINCE = 2
