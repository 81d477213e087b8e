import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { nestsDeeperThan } from '../format/json-depth.ts'
import { parseJson } from '../json.ts'
import { Secret } from '../secret.ts'
import type { CredentialNames, Dialect } from './dialect.ts'
import { roleErrorOf } from './role-code.ts'

/** Credentials of a role (STS). The two secrets print as `[secret]`; `reveal()` gives them. */
export interface RoleCredentials {
  readonly accessKeyId: string
  readonly accessKeySecret: Secret<string>
  readonly securityToken: Secret<string>
  /** When they end. The source has new ones at least 30 minutes before. */
  readonly expiration: Date
}

/** How much is demanded of an answer before it counts as credentials: LENIENT or STRICT. */
interface Strictness<Times> {
  readonly isParsable: (body: Buffer) => boolean
  /** Code and the times. */
  readonly times: z.ZodType<Times>
  /** Key id, key secret and token, each. */
  readonly member: z.ZodType<string>
  /** What SOURCE_NONSENSE says. @param member undefined: it is no object */
  readonly lacks: (member: string | undefined) => string
}

// RAM allows letters, digits, dot, underscore and hyphen, up to 64, IAM the others of these as well.
// Anything else could change the path.
const ROLE = /^[A-Za-z0-9._+=,@-]{1,64}$/
/** Those of ECS have one kilobyte, those of EC2 two. */
export const CREDENTIAL_BYTES_MAX = 65_536
// They are one object of texts; some room for what a cloud may add.
const DEPTH_MAX = 8

/** What comes in place of credentials that the cloud does not give. */
const refusal = z.looseObject({ Code: z.string().min(1) }).refine(({ Code }) => Code !== 'Success')
const Code = z.literal('Success')
const anyObject = z.looseObject({})

/** For clients of the agent, which has judged them strictly: what it takes to use them. */
export const LENIENT: Strictness<{ expiration: Date }> = {
  isParsable: () => true,
  times: z
    .object({ Code, Expiration: z.iso.datetime() })
    .transform(({ Expiration }) => ({ expiration: new Date(Expiration) })),
  member: z.string().min(1).max(8192),
  lacks: (member = 'everything') => `Its credentials lack ${member}.`,
}

// Go's and Python's SDKs parse exactly YYYY-MM-DDThh:mm:ssZ; what they refuse is not passed on.
const time = z.iso.datetime({ precision: 0 }).transform((text) => new Date(text))

/** For the agent, on whose word applications use them: nothing that one of their SDKs would refuse. */
export const STRICT: Strictness<{ expiration: Date; lastUpdated: Date }> = {
  // 800 KB of brackets would hold up everybody else while they are parsed.
  isParsable: (body) => body.length <= CREDENTIAL_BYTES_MAX && !nestsDeeperThan(DEPTH_MAX, body),
  times: z
    .object({ Code, LastUpdated: time, Expiration: time })
    .transform(({ LastUpdated, Expiration }) => ({
      expiration: Expiration,
      lastUpdated: LastUpdated,
    })),
  member: z.string().min(1),
  lacks: (member = 'not an object') => `credentials: ${member}`,
}

/**
 * The path of a role's credentials.
 *
 * @throws MetabindError METADATA_ABSENT if `role` cannot be the name of a role
 */
export function credentialsPath(role: string, { rolesPath }: Pick<Dialect, 'rolesPath'>): string {
  if (!ROLE.test(role) || role === '.' || role === '..') {
    throw new MetabindError('METADATA_ABSENT', 'No role can have this name.')
  }
  return `${rolesPath}${role}`
}

/**
 * Reads what the metadata service answers for a role (ECS user guide, "Instance RAM roles"; EC2 user
 * guide, "Retrieve security credentials"). Half a credential helps nobody: a peer of ours answered 200
 * with empty members after a failure upstream, and applications took them.
 *
 * @param body JSON with Code, Expiration and the members that the dialect names
 * @param strictness LENIENT or STRICT
 * @throws MetabindError SOURCE_ROLE if the Code is another than Success; SOURCE_NONSENSE, whose detail
 * names the member and never its value
 */
export function parseRoleCredentials<Times extends Pick<RoleCredentials, 'expiration'>>(
  body: Buffer,
  { credentialMembers }: Pick<Dialect, 'credentialMembers'>,
  strictness: Strictness<Times>,
): RoleCredentials & Times {
  const json = strictness.isParsable(body) ? parseJson(body) : undefined
  const refused = refusal.safeParse(json)
  if (refused.success) throw roleErrorOf(refused.data.Code)
  const times = strictness.times.safeParse(json)
  const nonsense = (member: string | undefined) =>
    new MetabindError('SOURCE_NONSENSE', strictness.lacks(member))
  if (!times.success) throw nonsense(times.error.issues[0]?.path.join('.') || undefined)
  const members = anyObject.parse(json)
  const text = (name: keyof CredentialNames): string => {
    const member = credentialMembers[name]
    const { success, data } = strictness.member.safeParse(members[member])
    if (!success) throw nonsense(member)
    return data
  }
  return {
    ...times.data,
    accessKeyId: text('accessKeyId'),
    accessKeySecret: new Secret(text('accessKeySecret')),
    securityToken: new Secret(text('securityToken')),
  }
}

/** Credentials by the names that somebody knows their parts by: for output, in plain. */
export function revealAs(
  names: CredentialNames,
  { accessKeyId, accessKeySecret, securityToken }: RoleCredentials,
): Record<string, string> {
  return {
    [names.accessKeyId]: accessKeyId,
    [names.accessKeySecret]: accessKeySecret.reveal(),
    [names.securityToken]: securityToken.reveal(),
  }
}
