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
  readonly times: (members: Members) => Times
  /** Of key id, key secret and token, each. */
  readonly charactersMax: number
  /** What SOURCE_NONSENSE says. @param member undefined: it is no object */
  readonly lacks: (member: string | undefined) => string
}

type Members = Readonly<Record<string, unknown>>

// RAM allows letters, digits, dot, underscore and hyphen, up to 64, IAM the others of these as well.
// Anything else could change the path.
const ROLE = /^[A-Za-z0-9._+=,@-]{1,64}$/
/** Those of ECS have one kilobyte, those of EC2 two. */
export const CREDENTIAL_BYTES_MAX = 65_536
// They are one object of texts; some room for what a cloud may add.
const DEPTH_MAX = 8
const TIME_CHARACTERS_MAX = 40

// Checked by hand: `metabind credential` runs each time that an SDK wants credentials, and loading a
// library of schemas would take it longer than all the rest.

// RFC 3339, in UTC.
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/

/** For clients of the agent, which has judged them strictly: what it takes to use them. */
export const LENIENT: Strictness<{ expiration: Date }> = {
  isParsable: () => true,
  times: (members) => ({ expiration: timeOf(members, 'Expiration', TIME) }),
  charactersMax: 8192,
  lacks: (member = 'everything') => `Its credentials lack ${member}.`,
}

// Go's and Python's SDKs parse exactly YYYY-MM-DDThh:mm:ssZ; what they refuse is not passed on.
const WHOLE_SECONDS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/

/** For the agent, on whose word applications use them: nothing that one of their SDKs would refuse. */
export const STRICT: Strictness<{ expiration: Date; lastUpdated: Date }> = {
  // 800 KB of brackets would hold up everybody else while they are parsed.
  isParsable: (body) => body.length <= CREDENTIAL_BYTES_MAX && !nestsDeeperThan(DEPTH_MAX, body),
  times: (members) => ({
    lastUpdated: timeOf(members, 'LastUpdated', WHOLE_SECONDS),
    expiration: timeOf(members, 'Expiration', WHOLE_SECONDS),
  }),
  charactersMax: CREDENTIAL_BYTES_MAX,
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
  try {
    const members = membersOf(json)
    const { Code } = members
    if (typeof Code === 'string' && !['', 'Success'].includes(Code)) throw roleErrorOf(Code)
    if (Code !== 'Success') throw new Lacking('Code')
    const text = (name: keyof CredentialNames) =>
      textOf(members, credentialMembers[name], strictness.charactersMax)
    return {
      ...strictness.times(members),
      accessKeyId: text('accessKeyId'),
      accessKeySecret: new Secret(text('accessKeySecret')),
      securityToken: new Secret(text('securityToken')),
    }
  } catch (error) {
    if (!(error instanceof Lacking)) throw error
    throw new MetabindError('SOURCE_NONSENSE', strictness.lacks(error.member))
  }
}

/** What is missing, or is not what it should be. */
class Lacking extends Error {
  readonly member: string | undefined

  constructor(member?: string) {
    super('lacking')
    this.member = member
  }
}

function membersOf(json: unknown): Members {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Lacking()
  return Object.fromEntries(Object.entries(json))
}

function textOf(members: Members, name: string, charactersMax: number): string {
  const value = Object.hasOwn(members, name) ? members[name] : undefined
  if (typeof value !== 'string' || value === '' || value.length > charactersMax) {
    throw new Lacking(name)
  }
  return value
}

function timeOf(members: Members, name: string, form: RegExp): Date {
  const text = textOf(members, name, TIME_CHARACTERS_MAX)
  const time = new Date(text)
  // The thirtieth of February would become a day of March.
  const isThere =
    form.test(text) &&
    !Number.isNaN(time.getTime()) &&
    time.toISOString().slice(0, 19) === text.slice(0, 19)
  if (!isThere) throw new Lacking(name)
  return time
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
