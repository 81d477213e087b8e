import { MetabindError } from '../errors.ts'
import { parseJson } from '../json.ts'

/**
 * Credentials of Google's SDKs for who has tokens from elsewhere: "external_account" with an executable, in the form
 * that google.aip.dev/auth/4117 and googleapis/google-auth-library-nodejs (pluggable-auth-client.ts) have.
 */

const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token'
const TIMEOUT_MS = 10_000

/**
 * The file that GOOGLE_APPLICATION_CREDENTIALS leads to.
 *
 * @param audience the full name of the provider, `//iam.googleapis.com/projects/…`
 */
export function googleConfiguration(
  audience: string,
  serviceAccount: string | undefined,
  socket: string | undefined,
): object {
  const own = socket === undefined ? [] : ['--socket', socket]
  const words = ['metabind', 'federate', 'executable', '--audience', audience, ...own]
  const account = encodeURIComponent(serviceAccount ?? '')
  const impersonation = `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${account}:generateAccessToken`
  return {
    type: 'external_account',
    audience,
    subject_token_type: ID_TOKEN,
    token_url: 'https://sts.googleapis.com/v1/token',
    ...(serviceAccount === undefined ? {} : { service_account_impersonation_url: impersonation }),
    credential_source: { executable: { command: words.join(' '), timeout_millis: TIMEOUT_MS } },
  }
}

/** What the executable prints. @param expiration in seconds since 1970 */
export function executableOutput(token: string, expiration: number): object {
  return {
    version: 1,
    success: true,
    token_type: ID_TOKEN,
    id_token: token,
    expiration_time: expiration,
  }
}

/** `exp` of a JWT, which nobody verifies here. @throws MetabindError SOCKET_NO_TOKEN if it has none */
export function secondsOf(token: string): number {
  const claims = parseJson(Buffer.from(token.split('.', 2)[1] ?? '', 'base64url'))
  const exp = typeof claims === 'object' && claims !== null && 'exp' in claims ? claims.exp : 0
  if (typeof exp === 'number' && Number.isInteger(exp) && exp > 0) return exp
  throw new MetabindError('SOCKET_NO_TOKEN')
}
