import { MetabindError } from '../errors.ts'
import { SUBJECT_TOKEN_TYPES } from './token-format.ts'

const TOKEN_EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'
const JWT_BEARER_GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
export const GRANTS = [TOKEN_EXCHANGE_GRANT, JWT_BEARER_GRANT] as const

/** What is asked of the token endpoint. */
export interface TokenRequest {
  /** An identity token of an instance. */
  readonly identityToken: string
  readonly audience: string
  readonly format: string | undefined
  readonly requestedType: string | undefined
}

/** Parameters that mean something, of which each may stand once. */
const PARAMETERS = [
  'grant_type',
  'subject_token',
  'subject_token_type',
  'assertion',
  'audience',
  'format',
  'requested_token_type',
] as const
type Parameters = Partial<Record<(typeof PARAMETERS)[number], string>>
/** What would make the token another's, or for something else. */
const UNSUPPORTED = ['actor_token', 'actor_token_type', 'resource', 'scope']
/** Whatever else is in a form stands there in escapes. What is not, decoders read in several ways, if escapes are broken too. */
const FORM = /^[\x20-\x7e]*$/

/**
 * Reads a request of token exchange (RFC 8693, 2.1) or of the JWT bearer grant (RFC 7523, 2.1).
 *
 * @param form the body of the request
 * @throws MetabindError REGISTRAR_REQUEST, REGISTRAR_GRANT
 */
export function tokenRequestOf(form: string): TokenRequest {
  if (!FORM.test(form)) throw new MetabindError('REGISTRAR_REQUEST', 'It has more than ASCII.')
  const given = new URLSearchParams(form)
  const twice = PARAMETERS.find((name) => given.getAll(name).length > 1)
  if (twice !== undefined) throw new MetabindError('REGISTRAR_REQUEST', `${twice} twice.`)
  const unsupported = UNSUPPORTED.find((name) => given.has(name))
  const parameters: Parameters = Object.fromEntries(
    PARAMETERS.flatMap((name) => (given.has(name) ? [[name, given.get(name) ?? '']] : [])),
  )
  const identityToken = identityTokenOf(parameters)
  if (unsupported !== undefined) throw new MetabindError('REGISTRAR_REQUEST', `${unsupported}.`)
  const { audience, format, requested_token_type: requestedType } = parameters
  if (audience === undefined || identityToken === undefined) {
    throw new MetabindError('REGISTRAR_REQUEST')
  }
  return { identityToken, audience, format, requestedType }
}

function identityTokenOf(parameters: Parameters): string | undefined {
  const { grant_type: grant, subject_token_type: type, assertion, subject_token } = parameters
  if (grant === JWT_BEARER_GRANT) return subject_token === undefined ? assertion : undefined
  if (grant !== TOKEN_EXCHANGE_GRANT) throw new MetabindError('REGISTRAR_GRANT')
  const isRight = SUBJECT_TOKEN_TYPES.includes(type ?? '') && assertion === undefined
  return isRight ? subject_token : undefined
}
