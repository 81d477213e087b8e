import type { KeyRing } from '../registrar-keys/key-ring.ts'
import { type KeyKind, SIGNING_ALGORITHMS } from '../registrar-keys/key-schedule.ts'
import { remembered } from '../remembered.ts'
import type { AkAuthority } from './ak-authority.ts'
import { DPOP_ALGORITHMS } from './dpop-proof.ts'
import { SPIFFE_BUNDLE_PATH, spiffeBundle } from './spiffe-bundle.ts'
import {
  STATUS_LIST_PATH,
  STATUS_LIST_TYPE,
  STATUS_TTL_SECONDS,
  type StatusList,
} from './status-list.ts'
import { witIssuerOf } from './token-issuer.ts'
import { GRANTS } from './token-request.ts'

/**
 * What verifiers read: OpenID Connect Discovery 1.0, RFC 8414 and RFC 7517. None of it depends on who asks, so that a
 * bucket can serve it while no registrar runs.
 */

/** Below the registrar's URL. */
const DISCOVERY_PATH = '/.well-known/openid-configuration'
const JWKS_PATH = '/jwks.json'
export const TOKEN_PATH = '/token'
const WIT_JWKS_PATH = '/wit/jwks.json'
const AK_AUTHORITY_PATH = '/ak/ca.pem'
/** For auditors: no verifier of tokens is told of it. */
const EVENTS_JWKS_PATH = '/events/jwks.json'

/** OpenID Connect Discovery 1.0, 3. There is no authorization endpoint: nobody logs in. */
function openidConfiguration(url: string): object {
  return {
    ...common(url),
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: SIGNING_ALGORITHMS,
    claims_supported: [
      'iss',
      'sub',
      'aud',
      'iat',
      'nbf',
      'exp',
      'jti',
      'iid',
      'dialect',
      'instance_id',
      'status',
    ],
  }
}

/**
 * Nobody is sent to an authorization endpoint. RFC 8414 requires the member (2) and forbids an empty array (3.2); this is
 * the one registered type that stands for no response.
 */
const NO_RESPONSE_TYPES = ['none']

/** RFC 8414, 2. */
function authorizationServer(url: string): object {
  return { ...common(url), response_types_supported: NO_RESPONSE_TYPES }
}

function common(url: string) {
  return {
    issuer: url,
    jwks_uri: `${url}${JWKS_PATH}`,
    token_endpoint: `${url}${TOKEN_PATH}`,
    token_endpoint_auth_methods_supported: ['none'],
    grant_types_supported: GRANTS,
    dpop_signing_alg_values_supported: DPOP_ALGORITHMS,
  }
}

/** RFC 8414, 2, of the issuer of WITs: where its keys are, and no endpoint. */
function witIssuer(url: string): object {
  return {
    issuer: witIssuerOf(url),
    jwks_uri: `${url}${WIT_JWKS_PATH}`,
    response_types_supported: NO_RESPONSE_TYPES,
  }
}

/** RFC 7517, 5. */
function jwks(published: KeyRing['published'], kinds: readonly KeyKind[]): object {
  const chosen = published.filter(({ kind }) => kinds.includes(kind))
  return { keys: chosen.map(({ kid, alg, jwk }) => ({ kid, use: 'sig', alg, ...jwk })) }
}

/** What stands before each path of the registrar's own. */
export function pathOf(url: string): string {
  return new URL(url).pathname.replace(/\/$/, '')
}

/** A document, with where it is served and where it is written to as a file. */
export interface PublicDocument {
  /** From the root of the host. */
  readonly path: string
  /** JSON if it is no text. */
  readonly content: () => object | string
  readonly type: string
  /** For how long verifiers may keep it. */
  readonly maxAgeSeconds: number
  /** Whether anybody reads it while no registrar runs. */
  readonly isFile: boolean
}

/** Less than a key is published before it signs. */
const MAX_AGE_SECONDS = 3600

/** Everything that verifiers read. */
export function publicDocuments(
  url: string,
  trustDomain: string | undefined,
  keys: Pick<KeyRing, 'published'>,
  statuses: Pick<StatusList, 'token'>,
  authority: Pick<AkAuthority, 'published'>,
): readonly PublicDocument[] {
  const base = pathOf(url)
  const document = (path: string, content: () => object | string) => ({
    ...{ path, content, type: 'application/json', maxAgeSeconds: MAX_AGE_SECONDS, isFile: true },
  })
  const same = (path: string, content: object) => document(path, () => content)
  /** Made once for each set of keys, and not for each who asks. */
  const ofKeys = (path: string, make: (published: KeyRing['published']) => object) => {
    const made = remembered(make)
    return document(path, () => made(keys.published))
  }
  const keysOf = (path: string, ...kinds: readonly KeyKind[]) =>
    ofKeys(path, (published) => jwks(published, kinds))
  const ofSpiffe = [
    // RFC 8414, 3.1: the path of the issuer stands behind.
    same(`/.well-known/oauth-authorization-server${base}/wit`, witIssuer(url)),
    keysOf(`${base}${WIT_JWKS_PATH}`, 'wit'),
    ofKeys(`${base}${SPIFFE_BUNDLE_PATH}`, spiffeBundle),
  ]
  return [
    same(`${base}${DISCOVERY_PATH}`, openidConfiguration(url)),
    // For who asks for tokens; as a file it would be in the way of a directory of its name, for the issuer of WITs.
    {
      ...same(`/.well-known/oauth-authorization-server${base}`, authorizationServer(url)),
      isFile: false,
    },
    keysOf(`${base}${JWKS_PATH}`, ...SIGNING_ALGORITHMS),
    {
      ...{ path: `${base}${STATUS_LIST_PATH}`, content: statuses.token },
      ...{ type: STATUS_LIST_TYPE, maxAgeSeconds: STATUS_TTL_SECONDS, isFile: true },
    },
    {
      ...document(`${base}${AK_AUTHORITY_PATH}`, () => authority.published),
      // RFC 8555, 9.1.
      type: 'application/pem-certificate-chain',
    },
    keysOf(`${base}${EVENTS_JWKS_PATH}`, 'checkpoint'),
    ...(trustDomain === undefined ? [] : ofSpiffe),
  ]
}
