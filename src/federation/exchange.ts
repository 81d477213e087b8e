import { z } from 'zod'
import { Secret } from '../secret.ts'
import { RegistrarDown } from './registrar-errors.ts'
import type { RegistrarHttp } from './registrar-http.ts'

/** A token that the registrar has signed. */
export interface FleetToken {
  readonly token: Secret<string>
  /** From when it was asked for. */
  readonly lifeMs: number
}

const TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:'
/** As the registrar calls them. Whether it gives one for an audience is for it to say. */
const FLEET_TOKEN_FORMATS = ['id_token', 'access_token', 'jwt_svid', 'wit'] as const
export type FleetTokenFormat = (typeof FLEET_TOKEN_FORMATS)[number]

export function isFleetTokenFormat(name: string): name is FleetTokenFormat {
  return FLEET_TOKEN_FORMATS.some((format) => format === name)
}

const reply = z.looseObject({
  access_token: z.string().regex(/^[\x21-\x7e]{1,16384}$/),
  expires_in: z.int().min(1).max(86_400),
})

/**
 * Exchanges an identity token (RFC 8693).
 *
 * @param subject signed by SK for the registrar; good for one exchange
 * @throws MetabindError FEDERATION_DOWN, FEDERATION_REFUSED
 */
export async function exchange(
  http: RegistrarHttp,
  subject: Secret<string>,
  asked: { readonly audience: string; readonly format: FleetTokenFormat | undefined },
): Promise<FleetToken> {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: subject.reveal(),
    subject_token_type: `${TOKEN_TYPE}jwt`,
    audience: asked.audience,
    ...(asked.format === undefined ? {} : { format: asked.format }),
  })
  const { body } = await http.ask({
    method: 'POST',
    path: '/token',
    contentType: 'application/x-www-form-urlencoded',
    body: form.toString(),
  })
  const parsed = reply.safeParse(body)
  if (!parsed.success) throw new RegistrarDown('Its answer is no token.')
  const { access_token: token, expires_in: seconds } = parsed.data
  return { token: new Secret(token), lifeMs: seconds * 1000 }
}
