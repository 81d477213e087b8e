/**
 * What clouds demand of an OpenID Connect issuer whose tokens they exchange, as docs/fleet-tokens.md lists it with its
 * sources. Each demand is held against what a registrar serves and issues.
 */

/** What a cloud gets to see. */
export interface SeenByCloud {
  /** The URL that is registered with it. */
  readonly url: string
  readonly configuration: Readonly<Record<string, unknown>>
  /** Media type of the configuration. */
  readonly type: string
  readonly keys: readonly Readonly<Record<string, unknown>>[]
  readonly token: string
  readonly header: Readonly<Record<string, unknown>>
  readonly claims: Readonly<Record<string, unknown>>
  /** Audiences that the registrar issues for. */
  readonly audiences: readonly string[]
}

export interface CloudDemand {
  readonly cloud: string
  readonly demand: string
  readonly holds: (seen: SeenByCloud) => boolean
}

export const ENTRA_AUDIENCE = 'api://AzureADTokenExchange'
export const GOOGLE_AUDIENCE =
  '//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/fleet/providers/registrar'

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const seconds = (value: unknown) => (typeof value === 'number' ? value : Number.NaN)
const text = (value: unknown) => (typeof value === 'string' ? value : '')
const bytes = (value: unknown) => Buffer.byteLength(text(value))
const isHttps = ({ url }: SeenByCloud) => /^https:\/\/[^?#@\s]+$/.test(url)
const names = ({ configuration }: SeenByCloud, member: string, ...values: readonly string[]) =>
  values.every((value) => list(configuration[member]).includes(value))
const ofType = ({ keys }: SeenByCloud, kty: string) => keys.filter((key) => key.kty === kty)
const isKnownKey = ({ keys, header }: SeenByCloud) =>
  keys.filter(({ kid, alg }) => kid === header.kid && alg === header.alg).length === 1

export const CLOUD_DEMANDS: readonly CloudDemand[] = [
  {
    cloud: 'Alibaba Cloud',
    demand: 'issuer: `https`, without query, fragment and user',
    holds: (seen) => isHttps(seen) && seen.claims.iss === seen.url,
  },
  {
    cloud: 'Alibaba Cloud',
    demand: '`aud` is a client ID of the provider',
    holds: ({ claims, audiences }) => audiences.includes(text(claims.aud)),
  },
  {
    cloud: 'Alibaba Cloud',
    demand: '`iat` no longer ago than configured, 1 to 168 hours',
    holds: ({ claims }) => seconds(claims.exp) - seconds(claims.iat) <= 3600,
  },
  {
    cloud: 'Alibaba Cloud',
    demand: 'a token of 4 to 20000 characters',
    holds: ({ token }) => token.length >= 4 && token.length <= 20_000,
  },
  {
    cloud: 'AWS',
    demand: 'issuer: `https`, no query, no port, 255 characters',
    holds: (seen) => isHttps(seen) && new URL(seen.url).port === '' && seen.url.length <= 255,
  },
  {
    cloud: 'AWS',
    demand: 'discovery below the issuer, in JSON, with `issuer` and `jwks_uri`',
    holds: ({ configuration, url, type }) =>
      configuration.issuer === url &&
      text(configuration.jwks_uri).startsWith('https://') &&
      type.startsWith('application/json'),
  },
  {
    cloud: 'AWS',
    demand: 'discovery names `id_token`, `public`, and the claims `aud`, `iat`, `iss`, `sub`',
    holds: (seen) =>
      names(seen, 'response_types_supported', 'id_token') &&
      names(seen, 'subject_types_supported', 'public') &&
      names(seen, 'claims_supported', 'aud', 'iat', 'iss', 'sub'),
  },
  {
    cloud: 'AWS',
    demand: 'signed with RS256, RS384, RS512, ES256, ES384 or ES512, which discovery names',
    holds: (seen) =>
      /^[RE]S(?:256|384|512)$/.test(text(seen.header.alg)) &&
      names(seen, 'id_token_signing_alg_values_supported', text(seen.header.alg)),
  },
  {
    cloud: 'AWS',
    demand: 'one key at least, and 100 of RSA and 100 of EC at most',
    holds: (seen) =>
      isKnownKey(seen) && ofType(seen, 'RSA').length <= 100 && ofType(seen, 'EC').length <= 100,
  },
  {
    cloud: 'AWS',
    demand: '`iss`, `sub`, `aud`, `iat` and `exp`; a token of 4 to 20000 characters',
    holds: ({ claims, token }) =>
      ['iss', 'sub', 'aud', 'iat', 'exp'].every((name) => claims[name] !== undefined) &&
      token.length <= 20_000,
  },
  {
    cloud: 'AWS',
    demand: 'a client ID of 255 characters at most',
    holds: ({ claims }) => bytes(claims.aud) <= 255,
  },
  {
    cloud: 'Google Cloud',
    demand: '`kid`, and `alg` of RS256 or ES256',
    holds: (seen) => isKnownKey(seen) && ['RS256', 'ES256'].includes(text(seen.header.alg)),
  },
  {
    cloud: 'Google Cloud',
    demand: '`iat` in the past, `exp` less than 48 hours after it',
    holds: ({ claims }) =>
      seconds(claims.iat) * 1000 <= Date.now() &&
      seconds(claims.exp) - seconds(claims.iat) < 48 * 3600,
  },
  {
    cloud: 'Google Cloud',
    demand: '`google.subject` of 127 bytes at most',
    holds: ({ claims }) => bytes(claims.sub) > 0 && bytes(claims.sub) <= 127,
  },
  {
    cloud: 'Google Cloud',
    demand: '`aud`: the name of the provider, or one of 10 of 256 characters',
    holds: ({ claims, audiences }) =>
      audiences.includes(GOOGLE_AUDIENCE) && bytes(claims.aud) <= 256,
  },
  {
    cloud: 'Google Cloud',
    demand: 'discovery below the issuer; keys of RSA or EC',
    holds: ({ configuration, url, keys }) =>
      configuration.issuer === url &&
      keys.length > 0 &&
      keys.every(({ kty }) => kty === 'RSA' || kty === 'EC'),
  },
  {
    cloud: 'Microsoft Entra',
    demand: 'issuer of 600 characters, without blanks around it, the same in discovery and token',
    holds: ({ url, configuration, claims }) =>
      url.length <= 600 && url.trim() === url && configuration.issuer === url && claims.iss === url,
  },
  {
    cloud: 'Microsoft Entra',
    demand: 'subject of 600 characters',
    holds: ({ claims }) => text(claims.sub).length > 0 && text(claims.sub).length <= 600,
  },
  {
    cloud: 'Microsoft Entra',
    demand: 'one audience, of 600 characters; `api://AzureADTokenExchange` is the usual one',
    holds: ({ claims, audiences }) =>
      audiences.includes(ENTRA_AUDIENCE) && typeof claims.aud === 'string',
  },
  {
    cloud: 'Microsoft Entra',
    demand: '100 keys at most',
    holds: ({ keys }) => keys.length <= 100,
  },
]
