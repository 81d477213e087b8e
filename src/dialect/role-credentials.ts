import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import type { DialectName } from '../format/dialect-name.ts'
import { Secret } from '../secret.ts'
import { roleErrorOf } from './role-code.ts'

/** A cloud's words for the credentials of an instance's role; see Dialect. */
export interface RoleWords {
  readonly name: DialectName
  readonly rolesPath: string
  readonly credentialMembers: readonly [string, string, string]
}

/** Credentials of a role (STS). The two secrets print as `[secret]`; `reveal()` gives them. */
export interface RamCredentials {
  readonly role: string
  /** The cloud that takes them. */
  readonly dialect: DialectName
  readonly accessKeyId: string
  readonly accessKeySecret: Secret<string>
  readonly securityToken: Secret<string>
  /** When they end. The source has new ones at least 30 minutes before. */
  readonly expiration: Date
}

// RAM allows letters, digits, dot, underscore and hyphen, up to 64, IAM the others of these as well.
// Anything else could change the path.
const ROLE = /^[A-Za-z0-9._+=,@-]{1,64}$/
const TEXT = z.string().min(1).max(8192)

/** What comes in place of credentials that the cloud does not give. */
export const roleRefusal = z
  .looseObject({ Code: z.string().min(1) })
  .refine(({ Code }) => Code !== 'Success')
const document = z.looseObject({ Code: z.literal('Success'), Expiration: z.iso.datetime() })

/**
 * The path of a role's credentials.
 *
 * @throws MetabindError METADATA_ABSENT where `role` cannot be the name of a role
 */
export function credentialsPath(role: string, { rolesPath }: Pick<RoleWords, 'rolesPath'>): string {
  if (!ROLE.test(role) || role === '.' || role === '..') {
    throw new MetabindError('METADATA_ABSENT', 'No role can have this name.')
  }
  return `${rolesPath}${role}`
}

/**
 * Reads what the metadata service answers for a role.
 *
 * @param body JSON with Code, Expiration and the members that `words` names
 * @throws MetabindError SOURCE_ROLE where the Code is not Success; SOURCE_NONSENSE where a member is
 * missing: half a credential helps nobody
 */
export function parseRamCredentials(role: string, body: Buffer, words: RoleWords): RamCredentials {
  const json = parseJson(body)
  const refused = roleRefusal.safeParse(json)
  if (refused.success) throw roleErrorOf(refused.data.Code)
  const parsed = document.safeParse(json)
  if (!parsed.success) throw lacks(parsed.error.issues[0]?.path.join('.') || 'everything')
  const text = (member: string): string => {
    const { success, data } = TEXT.safeParse(parsed.data[member])
    if (!success) throw lacks(member)
    return data
  }
  const [accessKeyId, accessKeySecret, securityToken] = words.credentialMembers
  return {
    role,
    dialect: words.name,
    accessKeyId: text(accessKeyId),
    accessKeySecret: new Secret(text(accessKeySecret)),
    securityToken: new Secret(text(securityToken)),
    expiration: new Date(parsed.data.Expiration),
  }
}

function lacks(member: string): MetabindError {
  return new MetabindError('SOURCE_NONSENSE', `Its credentials lack ${member}.`)
}

/** Without the parser's message: it quotes the text, and the text is the secret. */
function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}
