import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import type { Caller } from '../caller/caller.ts'
import type { Dialect } from '../dialect/dialect.ts'
import { credentialsPath } from '../dialect/role-credentials.ts'
import { MetabindError } from '../errors.ts'
import type { TokenAuthority } from '../token/authority.ts'
import type { JudgedRequest } from './judged-request.ts'

/**
 * Credentials at a URL, for SDKs that can only read one (ALIBABA_CLOUD_CREDENTIALS_URI,
 * AWS_CONTAINER_CREDENTIALS_FULL_URI): a plain GET without headers. The path holds a secret of the caller's uid, and the kernel must say that this
 * uid asks; either alone is not enough. A URL is the same until the next boot.
 */

const PREFIX = '/metabind/v1/credentials/'
// The token that a URL stands for is redeemed in the same request.
const TTL_SECONDS = 60

export interface CredentialsUrls {
  /** The URL of a caller, to which `/ROLE` is added. */
  urlOf(caller: Caller): string
  /** Turns a request for a caller's own URL into one for its role's credentials, with a token. */
  rewrite(request: JudgedRequest): JudgedRequest
}

export interface CredentialsUrlsDeps {
  /** The secret of the runtime directory, gone at reboot. */
  readonly salt: Buffer
  /** What identifies the instance. */
  readonly iid: string
  /** Of the listener on 127.0.0.1. */
  readonly port: number
  readonly tokens: TokenAuthority
  readonly dialect: Pick<Dialect, 'rolesPath'>
}

/** The credentials URLs of this boot of this instance. */
export function credentialsUrls({
  salt,
  iid,
  port,
  tokens,
  dialect,
}: CredentialsUrlsDeps): CredentialsUrls {
  const key = Buffer.from(hkdfSync('sha256', salt, iid, 'metabind credentials uri v1', 32))
  const secretOf = (uid: number): string =>
    createHmac('sha256', key).update(`uid ${uid}`).digest('base64url')
  return {
    urlOf: ({ uid }) => `http://127.0.0.1:${port}${PREFIX}${secretOf(uid)}`,
    rewrite: (request) => {
      const { caller, target } = request
      const [secret = '', role = '', more] = target.path.slice(PREFIX.length).split('/')
      const isOwn = target.path.startsWith(PREFIX) && isEqual(secret, secretOf(caller.uid))
      // The same answer for a wrong secret and a wrong path: neither tells what is here.
      if (!isOwn || role === '' || more !== undefined) throw new MetabindError('METADATA_ABSENT')
      const token = tokens.issue(TTL_SECONDS, caller).reveal()
      return {
        ...request,
        headers: { token, ttl: undefined },
        target: { path: credentialsPath(role, dialect), query: undefined },
      }
    },
  }
}

function isEqual(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}
