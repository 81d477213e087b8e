import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { methodText } from '../format/proof.ts'
import { issueInWords } from '../format/schema-issue.ts'
import { parseToml, type TomlDocument } from '../toml.ts'
import { AUDIENCE_PATHS, FLEET_TOKEN_PATH } from './audience.ts'
import {
  audiencePattern,
  filePattern,
  namePattern,
  overlap,
  type PathPattern,
  type Pattern,
  PatternProblem,
  pathPattern,
} from './pattern.ts'
import { NATIVE_SECRET_PATHS, NONE, namesCaller, type Policy, type Rule } from './policy.ts'
import { type UrlPattern, urlPattern } from './url-pattern.ts'

/** Longest policy file, in bytes. */
export const POLICY_BYTES_MAX = 262_144
const RULES_MAX = 1000
const ENTRIES_MAX = 1000
const ID_MAX = 4_294_967_294
// getent(1) takes digits for an id, and a colon would be another field of passwd(5). Directories have
// names with spaces, such as "domain users".
const ACCOUNT = /^(?!\+?[0-9]+$)[^\s\p{Cc}:,-](?:[^\p{Cc}:,]{0,254}[^\s\p{Cc}:,])?$/u
const UNIT_SUFFIX = /\.(service|scope|socket|mount|swap)$/

/** Numbers of the users and groups that a policy names. A name that nobody here has is left out. */
export interface Accounts {
  readonly users: ReadonlyMap<string, number>
  readonly groups: ReadonlyMap<string, number>
}

/** Finds the numbers of names: a question to the system, asked once per load. */
type LookUp = (names: {
  readonly users: readonly string[]
  readonly groups: readonly string[]
}) => Promise<Accounts>

/** What a policy is made with besides its text. */
export interface PolicyDeps {
  readonly lookUp: LookUp
  /** Secret paths of the dialect. */
  readonly secretPaths: readonly string[]
  /** Whether the agent can read other users' executables. */
  readonly seesExecutables: boolean
}

const account = z
  .union([z.number(), z.string()])
  .refine(isAccount, 'must be a name, or a number without quotes')
const list = <T extends z.ZodType>(entry: T) =>
  z.array(entry).min(1, 'must not be empty: leave it out to match every caller').max(ENTRIES_MAX)
const units = list(z.string().transform(asPattern(unitPattern)))
const rule = z
  .strictObject({
    /** Shown in logs and by explain. */
    name: z
      .string()
      .regex(/^[\x20-\x7e]{1,100}$/, 'must be 1 to 100 printable characters')
      .optional(),
    effect: z.enum(['allow', 'deny']),
    paths: list(z.string().transform(asPattern(pathPattern))).optional(),
    audiences: list(z.string().transform(asPattern(audiencePattern))).optional(),
    proofs: list(z.string().transform(asPattern(urlPattern))).optional(),
    methods: list(methodText).optional(),
    users: list(account).optional(),
    groups: list(account).optional(),
    units: units.optional(),
    executables: list(z.string().transform(asPattern(filePattern))).optional(),
    containers: list(z.string().transform(asPattern(namePattern))).optional(),
  })
  .refine(({ effect, executables }) => effect === 'allow' || executables === undefined, {
    path: ['executables'],
    message: 'cannot stand in a deny rule: a copy of the file would escape it',
  })
  .refine(({ paths, proofs }) => (paths === undefined) !== (proofs === undefined), {
    path: ['paths'],
    message: 'must be there, or proofs in their place',
  })
  .refine(({ proofs, methods }) => methods === undefined || proofs !== undefined, {
    path: ['methods'],
    message: 'must stand beside proofs',
  })
  .refine(
    ({ audiences, paths }) => audiences === undefined || paths?.every(takesAudience) === true,
    {
      path: ['audiences'],
      message: `cannot match: only ${AUDIENCE_PATHS.join(' and ')} take an audience`,
    },
  )
  .refine(
    ({ effect, audiences, paths }) =>
      effect === 'deny' || audiences !== undefined || paths?.every(isOfTokens) !== true,
    {
      path: ['paths'],
      message: `cannot match: the rule has to name the audiences for which it opens ${FLEET_TOKEN_PATH}`,
    },
  )
const schema = z.strictObject({
  mode: z.enum(['enforce', 'audit']).default('enforce'),
  rule: z.array(rule).max(RULES_MAX).default([]),
})

type Written = z.infer<typeof schema>
type Account = z.infer<typeof account>

/**
 * Parses a policy, whole or not at all. Users and groups are looked up here and nowhere later.
 *
 * @param file named in errors
 * @throws MetabindError POLICY_INVALID, POLICY_BLIND with file, line and reason
 */
export async function parsePolicy(text: string, file: string, deps: PolicyDeps): Promise<Policy> {
  const document = parseToml(text, file, 'POLICY_INVALID')
  const written = parseWritten(document, file)
  const accounts = await deps.lookUp({
    users: namesIn(written.rule, 'users'),
    groups: namesIn(written.rule, 'groups'),
  })
  const place = placeIn(document, file)
  for (const [at, one] of written.rule.entries()) {
    if (one.executables === undefined || deps.seesExecutables) continue
    throw new MetabindError('POLICY_BLIND', place(['rule', at, 'executables']))
  }
  return {
    mode: written.mode,
    rules: written.rule.map((one, at) => ruleOf(one, at, accounts)),
    secretPaths: [...deps.secretPaths, ...NATIVE_SECRET_PATHS].map(pathPattern),
    unknownAccounts: written.rule.flatMap((one, at) => unknownIn(one, at, accounts, place)),
  }
}

/** A user may have been deleted, or be of a directory that does not answer: no reason not to start. */
function unknownIn(
  written: Written['rule'][number],
  at: number,
  known: Accounts,
  place: Place,
): string[] {
  return (['users', 'groups'] as const).flatMap((key) =>
    (written[key] ?? [])
      .filter((entry) => typeof entry === 'string' && !known[key].has(entry))
      .map((entry) => `${place(['rule', at, key])}: '${entry}' is nobody here.`),
  )
}

/** Allow rules for everybody that open a secret path: right by the order, but perhaps not meant. */
export function openSecrets(policy: Policy): readonly Rule[] {
  return policy.rules.filter(
    (one) =>
      one.effect === 'allow' &&
      !namesCaller(one) &&
      one.paths.some((path) => policy.secretPaths.some((secret) => overlap(path, secret))),
  )
}

function takesAudience(path: PathPattern): boolean {
  return AUDIENCE_PATHS.some((one) => overlap(path, pathPattern(one)))
}

function isOfTokens({ text }: PathPattern): boolean {
  return text === FLEET_TOKEN_PATH || text === `${FLEET_TOKEN_PATH}/**`
}

/** Allow rules that give proofs to everybody. */
export function openProofs({ rules }: Policy): readonly Rule[] {
  return rules.filter(
    (one) => one.effect === 'allow' && one.proofs !== undefined && !namesCaller(one),
  )
}

function isAccount(entry: number | string): boolean {
  if (typeof entry === 'string') return ACCOUNT.test(entry)
  return Number.isInteger(entry) && entry >= 0 && entry <= ID_MAX
}

function parseWritten(document: TomlDocument, file: string): Written {
  const parsed = schema.safeParse(document.value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : []
  const path = [...(issue?.path ?? []), ...unknown].map((part) =>
    typeof part === 'symbol' ? String(part) : part,
  )
  const reason = issue && issueInWords(issue)
  const place = placeIn(document, file)
  throw new MetabindError('POLICY_INVALID', `${place(path)}: ${reason ?? 'no policy'}.`)
}

type Place = (path: readonly (string | number)[]) => string

/** `FILE:LINE: rule 2: users`, counting rules as people do. */
function placeIn(document: TomlDocument, file: string): Place {
  return (path) => {
    const [table, at, ...rest] = path
    const keys =
      table === 'rule' && typeof at === 'number' ? [`rule ${at + 1}`, ...rest.slice(0, 1)] : path
    return [`${file}:${document.lineOf(path)}`, ...keys].join(': ')
  }
}

function ruleOf(written: Written['rule'][number], at: number, known: Accounts): Rule {
  const { users, groups, name, paths = [], ...rest } = written
  return {
    ...withoutUndefined(rest),
    paths,
    number: at + 1,
    name: name ?? 'unnamed',
    ...(users === undefined ? {} : { users: numbersOf(users, known.users) }),
    ...(groups === undefined ? {} : { groups: numbersOf(groups, known.groups) }),
  }
}

/** If no name is known the set is empty, and the rule matches nobody. */
function numbersOf(
  entries: readonly Account[],
  known: ReadonlyMap<string, number>,
): ReadonlySet<number> {
  const numbers = entries.map((entry) => (typeof entry === 'number' ? entry : known.get(entry)))
  return new Set(numbers.filter((number) => number !== undefined))
}

type Lists = Omit<Written['rule'][number], 'users' | 'groups' | 'name' | 'paths'>

function withoutUndefined(lists: Lists): Pick<Rule, 'effect'> & Partial<Rule> {
  const { audiences, units, executables, containers, proofs, methods, ...rest } = lists
  return {
    ...rest,
    ...(audiences === undefined ? {} : { audiences }),
    ...(proofs === undefined ? {} : { proofs }),
    ...(methods === undefined ? {} : { methods }),
    ...(units === undefined ? {} : { units }),
    ...(executables === undefined ? {} : { executables }),
    ...(containers === undefined ? {} : { containers }),
  }
}

function namesIn(rules: Written['rule'], key: 'users' | 'groups'): string[] {
  const entries = rules.flatMap((one) => one[key] ?? [])
  return [...new Set(entries.filter((entry) => typeof entry === 'string'))]
}

/** A unit's name without its kind would never match, and nothing would say so. */
function unitPattern(text: string): Pattern {
  if (text !== NONE && !UNIT_SUFFIX.test(text)) {
    throw new PatternProblem(`must end in .service, .scope or the like, or be '${NONE}'`)
  }
  return namePattern(text)
}

function asPattern<T extends Pattern | PathPattern | UrlPattern>(parse: (text: string) => T) {
  return (text: string, context: z.RefinementCtx<string>): T => {
    try {
      return parse(text)
    } catch (error) {
      if (!(error instanceof PatternProblem)) throw error
      context.addIssue({ code: 'custom', message: `'${text.slice(0, 80)}' ${error.message}` })
      return z.NEVER
    }
  }
}
