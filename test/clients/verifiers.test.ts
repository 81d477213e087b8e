import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { falseClock } from '../harness/false-clock.ts'
import {
  audienceOf,
  MISSING,
  otherAudienceOf,
  startVerifiableTokens,
  TOKEN_ALGORITHMS,
  TOKEN_FORMATS,
  type TokenAlgorithm,
  type TokenFormat,
  VERIFIER_MODULES,
  type VerifiableTokens,
  type VerifierAnswer,
} from './verifiable-tokens.ts'
import {
  apacheModule,
  HAPROXY,
  startVerifyingApache,
  startVerifyingHaproxy,
  type Taken,
  type VerifyingServer,
} from './verifying-servers.ts'

/** Tokens of a registrar to verifiers that are not ours, unmodified. */

const AUTHLIB = '/usr/lib/python3/dist-packages/authlib'
const AUTHLIB_PROGRAM = fileURLToPath(new URL('use-authlib.py', import.meta.url))
/** Longer than any token lives. */
const LATER = '+2h'

type Environment = Record<string, string>
/** Says what a verifier of `audienceOf` an algorithm makes of a token. */
type Judge = (token: string, algorithm: TokenAlgorithm) => Promise<VerifierAnswer>

interface Verifier {
  readonly name: string
  readonly isThere: boolean
  readonly formats: readonly TokenFormat[]
  /** What it says of one for somebody else, altered, and expired. */
  readonly says: readonly [RegExp, RegExp, RegExp]
  start(env: Environment): Promise<Judge>
}

const stack = new AsyncDisposableStack()
let tokens: VerifiableTokens
let taken: Omit<Taken, 'audience'>

beforeAll(async () => {
  tokens = stack.use(await startVerifiableTokens())
  const { registrar, front, directory } = tokens
  const answer: unknown = await (await fetch(`${registrar.origin}/jwks.json`)).json()
  const { keys } = z
    .object({ keys: z.array(z.looseObject({ kty: z.string(), alg: z.string() })) })
    .parse(answer)
  const authorityFile = front.authority.file
  taken = { issuer: registrar.url, origin: registrar.origin, authorityFile, keys, directory }
})
afterAll(() => stack.disposeAsync())

/** Another's subject in its claims. */
function altered(token: string): string {
  const [header, claims = '', signature] = token.split('.')
  const said = JSON.parse(Buffer.from(claims, 'base64url').toString())
  const others = Buffer.from(JSON.stringify({ ...said, sub: 'aliyun:i-two' })).toString('base64url')
  return [header, others, signature].join('.')
}

const ofNode = (name: string, says: Verifier['says']): Verifier => ({
  ...{ name, says, isThere: existsSync(VERIFIER_MODULES), formats: TOKEN_FORMATS },
  start: async (env) => {
    const program = tokens.startNode(env)
    const issuer = tokens.registrar.url
    const asked = { who: name, issuer, jwksUri: `${issuer}/jwks.json`, scheme: 'Bearer' }
    return (token, algorithm) => program.ask({ ...asked, token, audience: audienceOf(algorithm) })
  },
})

const authlib: Verifier = {
  name: 'authlib',
  isThere: existsSync(AUTHLIB),
  formats: ['id_token', 'jwt_svid'],
  says: [/^InvalidClaimError: .*"aud"/, /^BadSignatureError/, /^ExpiredTokenError/],
  start: async (env) => {
    const program = tokens.start(['/usr/bin/python3', AUTHLIB_PROGRAM], env)
    const issuer = tokens.registrar.url
    return (token, algorithm) => program.ask({ token, issuer, audience: audienceOf(algorithm) })
  },
}

/** A server for each audience, which answers with a status alone. */
const ofServer = (
  name: string,
  program: string,
  start: (what: Taken, env: Environment) => Promise<VerifyingServer>,
): Verifier => ({
  ...{ name, isThere: existsSync(program), formats: TOKEN_FORMATS },
  says: [/^40[13]$/, /^40[13]$/, /^40[13]$/],
  start: async (env) => {
    const servers = new Map<TokenAlgorithm, VerifyingServer>()
    for (const algorithm of TOKEN_ALGORITHMS) {
      const what = { ...taken, audience: audienceOf(algorithm) }
      servers.set(algorithm, stack.use(await start(what, env)))
    }
    return async (token, algorithm) => {
      const headers = { authorization: `Bearer ${token}` }
      const { status } = await fetch(`${servers.get(algorithm)?.origin}/orders`, { headers })
      return status === 200 ? { claims: {} } : { refused: String(status) }
    }
  },
})

const VERIFIERS: readonly Verifier[] = [
  ofNode('aws-jwt-verify', [/Audience not allowed/, /Invalid signature/, /Token expired/]),
  ofNode('express-oauth2-jwt-bearer', [/'aud'/, /signature verification failed/, /"exp"/]),
  authlib,
  ofServer('haproxy', HAPROXY, startVerifyingHaproxy),
  ofServer('mod_auth_openidc', apacheModule('auth_openidc'), (what, env) => {
    const server = `OIDCOAuthVerifyJwksUri ${what.issuer}/jwks.json
OIDCCABundlePath ${join(what.directory, 'authority.pem')}
OIDCOAuthTokenExpiryClaim exp absolute mandatory
OIDCOAuthRemoteUserClaim sub`
    const location = `AuthType oauth20
<RequireAll>
Require claim iss:${what.issuer}
Require claim aud:${what.audience}
</RequireAll>`
    return startVerifyingApache(what, { name: 'auth_openidc', server, location }, env)
  }),
  ofServer('mod_oauth2', apacheModule('oauth2'), (what, env) => {
    const location = `AuthType oauth2
OAuth2TokenVerify jwks_uri ${what.origin}/jwks.json verify.exp=required
<RequireAll>
Require oauth2_claim iss:${what.issuer}
Require oauth2_claim aud:${what.audience}
</RequireAll>`
    return startVerifyingApache(what, { name: 'oauth2', server: '', location }, env)
  }),
]

describe.each(VERIFIERS)('$name', ({ isThere, formats, says, start }) => {
  const [saysOther, saysAltered, saysExpired] = says
  let now: Judge
  let later: Judge
  beforeAll(async () => {
    if (!isThere) return
    now = await start({})
    later = await start(falseClock(LATER))
  })
  const cases = formats.flatMap((format) => TOKEN_ALGORITHMS.map((one) => [format, one] as const))

  test.for(cases)(
    'takes a good %s with %s; none for others, altered or expired',
    async ([format, algorithm], context) => {
      if (!isThere) context.skip(MISSING)
      const { token } = await tokens.exchange(audienceOf(algorithm), format)
      expect(await now(token, algorithm)).toEqual({ claims: expect.anything() })

      const refused = (by: RegExp) => ({ refused: expect.stringMatching(by) })
      const { token: others } = await tokens.exchange(otherAudienceOf(algorithm), format)
      expect(await now(others, algorithm)).toEqual(refused(saysOther))
      expect(await now(altered(token), algorithm)).toEqual(refused(saysAltered))
      expect(await later(token, algorithm)).toEqual(refused(saysExpired))
    },
  )
})

test('docs/fleet-tokens.md names the versions of npm that are run', async () => {
  const read = (path: string) => readFile(new URL(path, import.meta.url), 'utf8')
  const page = await read('../../docs/fleet-tokens.md')
  const { dependencies } = JSON.parse(await read('verifiers/package.json'))
  // What it stands on.
  const { express: _, ...judges } = dependencies
  for (const [name, version] of Object.entries(judges)) {
    expect(page).toContain(`| ${name} | ${version} |`)
  }
})
