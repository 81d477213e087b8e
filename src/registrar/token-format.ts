import { MetabindError } from '../errors.ts'

/** What the token endpoint gives, by the short names of the parameter `format`. */
export const TOKEN_FORMATS = ['id_token', 'access_token', 'jwt_svid', 'wit'] as const
export type TokenFormat = (typeof TOKEN_FORMATS)[number]

const TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:'
export const SUBJECT_TOKEN_TYPES = [`${TOKEN_TYPE}jwt`, `${TOKEN_TYPE}id_token`]

/** By the names of RFC 8693, 3. Nobody has registered one for the last two but that of any JWT. */
const ISSUED_TYPES: Readonly<Record<TokenFormat, string>> = {
  id_token: `${TOKEN_TYPE}id_token`,
  access_token: `${TOKEN_TYPE}access_token`,
  jwt_svid: `${TOKEN_TYPE}jwt`,
  wit: `${TOKEN_TYPE}jwt`,
}

/** `issued_token_type` of the answer. */
export function issuedTypeOf(format: TokenFormat): string {
  return ISSUED_TYPES[format]
}

/**
 * What a request wants: by `format`, by `requested_token_type`, by both if they agree, or else the first of those that
 * the audience takes.
 *
 * @param offered what the audience takes
 * @throws MetabindError REGISTRAR_FORMAT
 */
export function formatWanted(
  offered: readonly TokenFormat[],
  wanted: { readonly format: string | undefined; readonly requestedType: string | undefined },
): TokenFormat {
  const { format, requestedType } = wanted
  const found = offered.find(
    (one) =>
      (format === undefined || one === format) &&
      (requestedType === undefined || ISSUED_TYPES[one] === requestedType),
  )
  if (found === undefined) throw new MetabindError('REGISTRAR_FORMAT')
  return found
}
