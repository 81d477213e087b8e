import { z } from 'zod'
import type { Caller } from '../caller/caller.ts'
import { MetabindError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { askedFor, targetFor } from './audience.ts'
import { canonicalTarget } from './canonical-path.ts'
import { type PathPattern, pathPattern } from './pattern.ts'
import { isContained, NONE } from './policy.ts'

/** A caller that read a path while the policy was in audit mode. */
export interface Seen {
  readonly caller: Caller
  readonly path: string
  /** Of a path that takes one. */
  readonly audience?: string
}

const name = z.string().regex(/^[A-Za-z0-9:_.\\@-]{1,256}$/)
const record = z.object({
  audit: z.literal(true),
  event: z.literal('policy.seen'),
  path: z.string().max(2048),
  audience: z.string().max(256).exactOptional(),
  caller: z.object({
    pid: z.int(),
    uid: z.int().min(0),
    gid: z.int().min(0),
    groups: z.array(z.int()).max(65_536),
    unit: name.exactOptional(),
    slice: name.exactOptional(),
    container: name.exactOptional(),
    namespaces: z.array(z.enum(['pid', 'user', 'network'])),
  }),
})

/**
 * Reads one line of the agent's log.
 *
 * @returns what was seen; undefined if the line tells of nothing seen
 * @throws MetabindError POLICY_INVALID for a path with an asterisk, which callers may ask for and
 *   which, written into a rule, would match other paths
 */
export function parseSeen(line: string): Seen | undefined {
  const parsed = record.safeParse(parseJson(line))
  if (!parsed.success) return undefined
  const { caller, path, audience } = parsed.data
  const isTarget = !path.includes('*') && canonicalTarget(path).path === path
  if (!isTarget || !fits(path, audience)) {
    throw new MetabindError('POLICY_INVALID', `${JSON.stringify(path)} cannot stand in a rule.`)
  }
  return audience === undefined ? { caller, path } : { caller, path, audience }
}

/** An audience with an asterisk would be a pattern in a rule, and match others. */
function fits(path: string, audience: string | undefined): boolean {
  if (audience === undefined) return true
  if (audience.includes('*')) return false
  try {
    return askedFor(path, targetFor('', audience).slice(1))?.audience === audience
  } catch {
    return false
  }
}

/**
 * The least policy under which everything that was seen is allowed: a rule for each user, unit and
 * container with the very paths, and a last one that denies the rest.
 *
 * @param secretPaths marked in the output, for whoever reviews it
 * @returns TOML
 */
export function suggestPolicy(seen: readonly Seen[], secretPaths: readonly string[]): string {
  const secret = secretPaths.map(pathPattern)
  const rules = new Map<string, Set<string>>()
  for (const { caller, path, audience } of seen) {
    const lists = `${whoOf(caller)}${audiencesOf(audience)}`
    rules.set(lists, (rules.get(lists) ?? new Set()).add(path))
  }
  const texts = [...rules].sort().map(([lists, paths]) => ruleText(lists, paths, secret))
  return [HEADER, ...texts, LAST_RULE].join('\n')
}

const HEADER = `# Suggested by metabind policy suggest from what was seen in audit mode. Read it before use: whatever
# was asked for while the log was written is allowed here, by whomever it was asked.
mode = "enforce"
`
const LAST_RULE = `[[rule]]
name = "nothing else"
effect = "deny"
paths = ["/**"]
`

/** The lines that name a caller. JSON's strings are TOML's, for the characters let through above. */
function whoOf(caller: Caller): string {
  const container = isContained(caller) ? [['containers', caller.container ?? NONE]] : []
  const lists = [['units', unitOf(caller)], ...container]
  const lines = lists.map(([key, value]) => `${key} = [${JSON.stringify(value)}]\n`)
  return `users = [${caller.uid}]\n${lines.join('')}`
}

/** A rule of its own for each: of one for several, each path would be open for all of them. */
function audiencesOf(audience: string | undefined): string {
  return audience === undefined ? '' : `audiences = [${JSON.stringify(audience)}]\n`
}

/** A login session has a new number each time. */
function unitOf({ unit = NONE }: Caller): string {
  return /^session-[a-z]?\d+\.scope$/.test(unit) ? 'session-*.scope' : unit
}

function ruleText(
  lists: string,
  paths: ReadonlySet<string>,
  secret: readonly PathPattern[],
): string {
  const lines = [...paths].sort().map((path) => {
    const mark = secret.some((pattern) => pattern.matches(path)) ? '  # secret' : ''
    return `  ${JSON.stringify(path)},${mark}\n`
  })
  return `[[rule]]\neffect = "allow"\n${lists}paths = [\n${lines.join('')}]\n`
}
