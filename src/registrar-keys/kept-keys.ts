import { MetabindError } from '../errors.ts'
import type { Repository, StoredSigningKey } from '../registrar-repository/repository.ts'
import type { KeyStore } from './private-key.ts'

/** The two places of a key, which know nothing of each other: its row in the database, and where the private key is. */
interface Places {
  readonly repository: Pick<Repository, 'addSigningKey' | 'removeSigningKeys'>
  readonly store: Pick<KeyStore, 'destroy'>
}

/**
 * Of two replicas that make a key at the same time the second is in vain, and its key is destroyed. If nobody knows whether it
 * was added, it is not: a key that nobody publishes harms less than one that is published and gone.
 */
export async function addNewKey(
  { repository, store }: Places,
  key: StoredSigningKey,
  afterMs: number,
): Promise<void> {
  if (!(await repository.addSigningKey(key, afterMs))) await store.destroy(key.sealed)
}

/** The private key goes first: as long as there is a row, somebody will destroy it. */
export async function removeKeys(
  { repository, store }: Places,
  keys: readonly Pick<StoredSigningKey, 'kid' | 'sealed'>[],
): Promise<void> {
  for (const { kid, sealed } of keys) {
    await store.destroy(sealed)
    await repository.removeSigningKeys([kid])
  }
}

/** There is one from the first refresh on, unless it should have been made in a token that cannot be used. */
export function noKey(what: string): MetabindError {
  return new MetabindError('REGISTRAR_HSM', `No key for ${what} was made yet.`)
}
