import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { Secret } from './secret.ts'

/** Where the name of the instance's RAM role is listed; its credentials are one level below. */
export const ROLES_PATH = '/latest/meta-data/ram/security-credentials/'

/** Credentials of a RAM role (STS). The two secrets print as `[secret]`; `reveal()` gives them. */
export interface RamCredentials {
  readonly role: string
  readonly accessKeyId: string
  readonly accessKeySecret: Secret<string>
  readonly securityToken: Secret<string>
  /** When they end. The source has new ones at least 30 minutes before. */
  readonly expiration: Date
}

// RAM allows letters, digits and these four, up to 64. Anything else could change the path.
const ROLE = /^[A-Za-z0-9._-]{1,64}$/
const TEXT = z.string().min(1).max(8192)

const document = z.object({
  Code: z.literal('Success'),
  AccessKeyId: TEXT,
  AccessKeySecret: TEXT,
  SecurityToken: TEXT,
  Expiration: z.iso.datetime(),
})

/**
 * The path of a role's credentials.
 *
 * @throws MetabindError METADATA_ABSENT where `role` cannot be the name of a role
 */
export function credentialsPath(role: string): string {
  if (!ROLE.test(role) || role === '.' || role === '..') {
    throw new MetabindError('METADATA_ABSENT', 'No role can have this name.')
  }
  return `${ROLES_PATH}${role}`
}

/**
 * Reads what the metadata service answers for a role.
 *
 * @param body JSON with Code, AccessKeyId, AccessKeySecret, SecurityToken and Expiration
 * @throws MetabindError SOURCE_NONSENSE where a member is missing: half a credential helps nobody
 */
export function parseRamCredentials(role: string, body: Buffer): RamCredentials {
  const parsed = document.safeParse(parseJson(body))
  if (!parsed.success) {
    const member = parsed.error.issues[0]?.path.join('.') ?? ''
    throw new MetabindError('SOURCE_NONSENSE', `Its credentials lack ${member || 'everything'}.`)
  }
  const { AccessKeyId, AccessKeySecret, SecurityToken, Expiration } = parsed.data
  return {
    role,
    accessKeyId: AccessKeyId,
    accessKeySecret: new Secret(AccessKeySecret),
    securityToken: new Secret(SecurityToken),
    expiration: new Date(Expiration),
  }
}

/** Without the parser's message: it quotes the text, and the text is the secret. */
function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}
