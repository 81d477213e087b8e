import { deflateSync } from 'node:zlib'
import { MetabindError } from '../errors.ts'
import type { KeyRing } from '../registrar-keys/key-ring.ts'
import { signedJwt } from '../registrar-keys/signed-jwt.ts'
import {
  type Repository,
  STATUS_KEPT_MS,
  type Statuses,
} from '../registrar-repository/repository.ts'

/**
 * The Token Status List (draft-ietf-oauth-status-list-17): a bit for each instance that was given tokens, which is set
 * when it is suspended, evicted or banned, and with that for all the tokens that it was given.
 */

/** Below the registrar's URL. */
export const STATUS_LIST_PATH = '/status-list'
export const STATUS_LIST_TYPE = 'application/statuslist+jwt'

/** For how long verifiers may keep it, and for how long it is good if no registrar makes another. */
export const STATUS_TTL_SECONDS = 60
const LIFE_SECONDS = STATUS_KEPT_MS / 1000
/** A list on which nothing has changed is signed anew after this. */
const RENEWED_AFTER_MS = 600_000

export interface StatusList {
  /** A JWT. @throws MetabindError REGISTRAR_HSM before the first refresh: only for a token does nobody wait */
  token(): string
  /** Reads what was revoked, also at other replicas, and signs a list if it is another one. */
  refresh(): Promise<void>
}

interface StatusListDeps {
  readonly url: string
  readonly repository: Pick<Repository, 'statuses'>
  readonly keys: Pick<KeyRing, 'signing'>
  readonly nowMs: () => number
}

/** What a token says of where its status is (draft, 6.1). @param idx of its instance */
export function statusClaim(url: string, idx: number): object {
  return { status_list: { idx, uri: `${url}${STATUS_LIST_PATH}` } }
}

export function statusList({ url, repository, keys, nowMs }: StatusListDeps): StatusList {
  let made: { readonly lst: string; readonly madeAtMs: number; readonly token: string } | undefined
  return {
    token: () => {
      if (made === undefined) throw new MetabindError('REGISTRAR_HSM', 'No list is signed yet.')
      return made.token
    },
    refresh: async () => {
      const lst = encodeStatuses(await repository.statuses())
      const now = nowMs()
      if (made?.lst === lst && now - made.madeAtMs < RENEWED_AFTER_MS) return
      const iat = Math.floor(now / 1000)
      const claims = {
        ...{ iss: url, sub: `${url}${STATUS_LIST_PATH}`, iat, exp: iat + LIFE_SECONDS },
        ...{ ttl: STATUS_TTL_SECONDS, status_list: { bits: 1, lst } },
      }
      const token = await signedJwt(keys, 'ES256', 'statuslist+jwt', claims)
      made = { lst, madeAtMs: now, token: token.reveal() }
    },
  }
}

/** Draft, 4.1: the bits of a byte are counted from the least significant one. */
function encodeStatuses({ count, revoked }: Statuses): string {
  const bytes = Buffer.alloc(Math.max(1, Math.ceil(count / 8)))
  for (const idx of revoked)
    bytes.writeUInt8(bytes.readUInt8(idx >> 3) | (1 << (idx & 7)), idx >> 3)
  return deflateSync(bytes, { level: 9 }).toString('base64url')
}
