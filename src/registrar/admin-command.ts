import { MetabindError } from '../errors.ts'
import { oneLine } from '../format/one-line.ts'
import { type EnrolledInstance, subjectOf } from '../registrar-repository/enrolled-instance.ts'
import type { Repository } from '../registrar-repository/repository.ts'
import { type AdminAction, administer, allInstances, instancesNamed } from './administration.ts'

/** What the administrator's verbs print, from the repository alone: they work while a registrar serves, or none does. */

export interface AdminCommandDeps {
  readonly repository: Repository
  readonly nowMs: () => number
  /** Whether values are printed as JSON. */
  readonly isJson: boolean
}

const EVENTS_PAGE = 1000

/** One line an instance. */
export async function* instanceLines(deps: AdminCommandDeps): AsyncGenerator<string> {
  for await (const one of allInstances(deps.repository)) {
    if (deps.isJson) yield `${JSON.stringify(one)}\n`
    else
      yield `${one.iid}  ${one.state.padEnd(9)}  ${day(one.seenAtMs)}  ${oneLine(subjectOf(one))}\n`
  }
}

/** All that is known of one, and for whom it was given tokens. @throws MetabindError ENROL_UNKNOWN */
export async function instanceInFull(deps: AdminCommandDeps, word: string): Promise<string> {
  const instance = await oneNamed(deps.repository, word)
  const uses = await deps.repository.uses(instance.iid)
  return deps.isJson ? `${JSON.stringify({ ...instance, uses })}\n` : inWords(instance, uses)
}

/** @throws MetabindError ENROL_UNKNOWN, REGISTRAR_STATE, REGISTRAR_BUSY */
export async function administered(
  deps: AdminCommandDeps,
  action: AdminAction,
  word: string,
  said: { readonly reason: string | undefined; readonly by: string },
): Promise<string> {
  const { iid } = await oneNamed(deps.repository, word)
  const changed = await administer(deps.repository, action, iid, said, deps.nowMs())
  if (deps.isJson) return `${JSON.stringify(changed)}\n`
  return `${changed.iid}  ${changed.state}  ${oneLine(subjectOf(changed))}\n`
}

/** The chain of events, as `metabind audit verify` takes it. */
export async function* eventLines({ repository }: AdminCommandDeps): AsyncGenerator<string> {
  for (let seq = 0; ; seq += EVENTS_PAGE) {
    const lines = await repository.events(seq, EVENTS_PAGE)
    yield* lines.map((line) => `${line}\n`)
    if (lines.length < EVENTS_PAGE) return
  }
}

async function oneNamed(repository: Repository, word: string): Promise<EnrolledInstance> {
  const [found, other] = await instancesNamed(repository, word)
  if (found === undefined)
    throw new MetabindError('ENROL_UNKNOWN', `Nothing is called ${oneLine(word)}.`)
  if (other === undefined) return found
  throw new MetabindError('ENROL_UNKNOWN', `${oneLine(word)} is the beginning of several.`)
}

function inWords(one: EnrolledInstance, uses: Awaited<ReturnType<Repository['uses']>>): string {
  const { resetCount, restartCount, clockMs } = one.record
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['instance', subjectOf(one)],
    ['iid', one.iid],
    ['state', one.state],
    ['reason', one.reason],
    ['anchor', one.anchor],
    ['EK', `${one.ekName} (pin ${one.ekSpkiSha256})`],
    ['AK', one.akName],
    ['proven', one.proven.join(', ')],
    ['enrolled', day(one.enrolledAtMs)],
    ['seen', `${day(one.seenAtMs)} from ${one.source}, generation ${one.generation}`],
    ['counters', `${resetCount} resets, ${restartCount} restarts, clock ${clockMs} ms`],
    ['expires', day(one.expiresAtMs)],
    ...uses.map(
      ({ audience, tokens, lastAtMs }) =>
        ['tokens', `${tokens} for ${audience}, the last ${day(lastAtMs)}`] as const,
    ),
  ]
  return rows
    .filter((row): row is readonly [string, string] => row[1] !== undefined)
    .map(([name, value]) => `${name.padEnd(10)}${oneLine(value)}\n`)
    .join('')
}

function day(timeMs: number): string {
  return new Date(timeMs).toISOString()
}
