import type { Caller } from '../caller/caller.ts'
import { AUDIENCE_PATHS, FLEET_TOKEN_PATH } from './audience.ts'
import type { PathPattern, Pattern } from './pattern.ts'
import type { ProofUrl } from './proof-url.ts'
import { type RuleIndex, ruleIndex } from './rule-index.ts'
import type { UrlPattern } from './url-pattern.ts'

/** Who may read what: rules in order, and what holds if none of them speaks. */
export interface Policy {
  /** `audit` allows everything and records what `enforce` would have refused. */
  readonly mode: 'enforce' | 'audit'
  readonly rules: readonly Rule[]
  /** Paths that only root reads if no rule says otherwise. */
  readonly secretPaths: readonly PathPattern[]
  /** Users and groups of rules that are nobody here, in words, each with its place in the file. */
  readonly unknownAccounts: readonly string[]
}

/** Callers × paths, or callers × requests that proofs are for → effect. Every list that is there must match; one entry of it is enough. */
export interface Rule {
  /** Its place in the file, from 1. */
  readonly number: number
  readonly name: string
  readonly effect: 'allow' | 'deny'
  /** Empty if it speaks of proofs. */
  readonly paths: readonly PathPattern[]
  /** For whom what is asked for is. */
  readonly audiences?: readonly Pattern[]
  /** URLs that proofs are for. A rule has paths or these. */
  readonly proofs?: readonly UrlPattern[]
  /** Of the requests that proofs are for; any if absent. */
  readonly methods?: readonly string[]
  readonly users?: ReadonlySet<number>
  /** The caller's group or one of its supplementary groups. */
  readonly groups?: ReadonlySet<number>
  readonly units?: readonly Pattern[]
  readonly executables?: readonly Pattern[]
  readonly containers?: readonly Pattern[]
}

/** What the policy says, and by which rule. */
export interface Decision {
  readonly allowed: boolean
  /** The number of the rule that decided; `default` if none did. */
  readonly rule: number | 'default'
  readonly why: string
}

/** Why a rule does not speak of a request: the first of its lists that does not match. */
export type Mismatch = 'paths' | 'audiences' | 'proofs' | 'methods' | CallerMismatch
type CallerMismatch = 'users' | 'groups' | 'units' | 'executables' | 'containers'

/** What a proof is asked for. */
export interface ProofAsked {
  readonly url: ProofUrl
  /** Undefined: the proof names none, so it is good for all. */
  readonly method: string | undefined
}

/**
 * In `units`: a caller that is in no unit; no unit can be called this, for lack of a suffix. In
 * `containers`: one in namespaces of its own that are no known container's.
 */
export const NONE = 'none'

// Of the native API: what proves this instance to others.
export const NATIVE_SECRET_PATHS: readonly string[] = AUDIENCE_PATHS.map((path) => `${path}/**`)

/**
 * Decides by the first rule that matches. Nothing but its arguments counts: the same ones always
 * give the same decision. The mode does not: whoever asks acts on that.
 *
 * @param path canonical
 * @param audience of a path that takes one
 */
export function decide(policy: Policy, caller: Caller, path: string, audience?: string): Decision {
  const rule = indexOf(policy)
    .candidates(path, {
      uid: caller.uid,
      gids: () => [caller.gid, ...caller.groups],
      unit: () => caller.unit ?? NONE,
    })
    .find((one) => mismatch(one, caller, path, audience) === undefined)
  return rule === undefined ? decideByDefault(policy, caller, path) : decisionOf(rule)
}

/**
 * Decides who may have a proof by the first rule with `proofs` that matches; without one nobody may, root neither. Rules of
 * paths do not speak of it.
 */
export function decideProof(policy: Policy, caller: Caller, asked: ProofAsked): Decision {
  const rule = policy.rules.find((one) => proofMismatch(one, caller, asked) === undefined)
  if (rule !== undefined) return decisionOf(rule)
  return { allowed: false, rule: 'default', why: 'no rule lets this caller have a proof for it' }
}

function decisionOf(rule: Rule): Decision {
  const verb = rule.effect === 'allow' ? 'allows' : 'denies'
  return {
    allowed: rule.effect === 'allow',
    rule: rule.number,
    why: `rule ${rule.number} (${rule.name}) ${verb} it`,
  }
}

const indexes = new WeakMap<readonly Rule[], RuleIndex<Rule>>()

/** Made when a policy is first asked. */
function indexOf({ rules }: Policy): RuleIndex<Rule> {
  const known = indexes.get(rules)
  if (known !== undefined) return known
  const made = ruleIndex(rules)
  indexes.set(rules, made)
  return made
}

/**
 * The first list of a rule that does not match, or undefined if all do.
 *
 * An allow rule that names its callers speaks of processes where the agent is: uid 0 in a container
 * is not the root that the rule means. A process in a container, or in another user or PID
 * namespace, is matched if `containers` names it, or by a rule for everybody. A deny rule speaks
 * of all, so that nobody escapes it by entering a namespace.
 *
 * An allow rule opens the registrar's tokens for the audiences that it names, and for none if it names none: each is the
 * key to another place, and `/**` was written before that place was thought of.
 */
export function mismatch(
  rule: Rule,
  caller: Caller,
  path: string,
  audience: string | undefined,
): Mismatch | undefined {
  if (!rule.paths.some((pattern) => pattern.matches(path))) return 'paths'
  if (!speaksOfAudience(rule, path, audience)) return 'audiences'
  return callerMismatch(rule, caller)
}

/** The same for a proof; of a rule that speaks of paths, `proofs`. */
export function proofMismatch(
  rule: Rule,
  caller: Caller,
  { url, method }: ProofAsked,
): Mismatch | undefined {
  const { proofs, methods, effect } = rule
  if (proofs === undefined || !proofs.some((pattern) => pattern.matches(url))) return 'proofs'
  // A proof for all methods is denied to whom one is denied, and allowed to whom all are.
  const speaksOf = method === undefined ? effect === 'deny' : methods?.includes(method)
  if (methods !== undefined && !speaksOf) return 'methods'
  return callerMismatch(rule, caller)
}

function callerMismatch(rule: Rule, caller: Caller): CallerMismatch | undefined {
  if (rule.users !== undefined && !rule.users.has(caller.uid)) return 'users'
  if (rule.groups !== undefined && !isMember(caller, rule.groups)) return 'groups'
  if (rule.units !== undefined && !anyMatches(rule.units, caller.unit ?? NONE)) return 'units'
  if (rule.executables !== undefined && !runsOneOf(caller, rule.executables)) return 'executables'
  if (rule.containers === undefined) {
    return rule.effect === 'allow' && namesCaller(rule) && isContained(caller)
      ? 'containers'
      : undefined
  }
  const contained = isContained(caller) && anyMatches(rule.containers, caller.container ?? NONE)
  return contained ? undefined : 'containers'
}

function speaksOfAudience(
  { audiences, effect }: Rule,
  path: string,
  audience: string | undefined,
): boolean {
  if (audiences === undefined) return effect === 'deny' || path !== FLEET_TOKEN_PATH
  return audience !== undefined && anyMatches(audiences, audience)
}

/** Whether a path is one that only root reads if no rule says otherwise. */
export function isSecret(policy: Policy, path: string): boolean {
  return policy.secretPaths.some((pattern) => pattern.matches(path))
}

/** Whether a rule says anything about who calls. */
export function namesCaller(rule: Rule): boolean {
  const { users, groups, units, executables, containers } = rule
  return [users, groups, units, executables, containers].some((list) => list !== undefined)
}

/** Whether the caller lives in a container, or counts uids or pids otherwise than the agent does. */
export function isContained(caller: Caller): boolean {
  return caller.container !== undefined || caller.namespaces.length > 0
}

function decideByDefault(policy: Policy, caller: Caller, path: string): Decision {
  if (!isSecret(policy, path)) {
    return { allowed: true, rule: 'default', why: 'no rule speaks of it, and it is not secret' }
  }
  const allowed = caller.uid === 0 && !isContained(caller)
  const why = `no rule speaks of it, and it is secret: for root outside of containers only`
  return { allowed, rule: 'default', why }
}

function isMember(caller: Caller, gids: ReadonlySet<number>): boolean {
  return gids.has(caller.gid) || caller.groups.some((gid) => gids.has(gid))
}

function anyMatches(patterns: readonly Pattern[], value: string): boolean {
  return patterns.some((pattern) => pattern.matches(value))
}

function runsOneOf(caller: Caller, executables: readonly Pattern[]): boolean {
  return caller.executable !== undefined && anyMatches(executables, caller.executable)
}

/** What of callers has to be read when they connect, since a rule names it. */
export interface NamedOfCallers {
  /** Whether a rule names units or containers. */
  readonly isPlace: boolean
  /** Whether a rule names the executable at a path; undefined if no rule names any. */
  readonly executable: ((path: string) => boolean) | undefined
}

const named = new WeakMap<readonly Rule[], NamedOfCallers>()

/** Asked for each connection, and found out once for a policy. */
export function namedOfCallers({ rules }: Policy): NamedOfCallers {
  const known = named.get(rules)
  if (known !== undefined) return known
  const patterns = rules.flatMap((rule) => rule.executables ?? [])
  const found: NamedOfCallers = {
    isPlace: rules.some(({ units, containers }) => (units ?? containers) !== undefined),
    executable: patterns.length === 0 ? undefined : (path) => anyMatches(patterns, path),
  }
  named.set(rules, found)
  return found
}
