import { ADMIN_CALLS, type Observed } from '../admin-api.ts'
import { readAdmin } from '../admin-client.ts'
import type { Sockets } from '../agent-socket.ts'
import { whyNobodyNamed } from '../caller/socket-place.ts'
import { MetabindError } from '../errors.ts'
import { type DirectReader, LOOK_MS, watchReaders } from '../lockdown/direct-readers.ts'
import type { Lockdown } from '../lockdown/rules.ts'
import { findCredentialsPath, policyOf, verdictOf, verdictOfObserved } from '../lockdown/verdict.ts'
import { print, printAnswer } from './output.ts'
import { type ShownVerdict, shownVerdict } from './shown-verdict.ts'
import { asTable, userName } from './table.ts'

type Judged<Row> = Row & { readonly verdict: ShownVerdict }
/** A process that talks to the service, with the name of its user. */
type NamedReader = { readonly user: string } & DirectReader

/** Who talks to the service now, who was observed before, and what would become of each. */
export async function preview(plan: Lockdown, sockets: Sockets, asJson: boolean): Promise<void> {
  const ask = policyOf(sockets)
  const credentialsPath = await findCredentialsPath(sockets)
  const now: Judged<NamedReader>[] = []
  for (const reader of await watchReaders(plan)) {
    const verdict = shownVerdict(await verdictOf(reader, plan, credentialsPath, ask))
    now.push({ user: userName(reader.uid), ...reader, verdict })
  }
  const rows = await observedIfAny(sockets)
  const before: Judged<Observed>[] = []
  for (const row of rows ?? []) {
    before.push({ ...row, verdict: shownVerdict(await verdictOfObserved(row, plan, ask)) })
  }
  const agentAnswers = rows !== undefined
  const refusesAll = await whyNobodyNamed()
  const said = { address: plan.address, agentAnswers, refusesAll, now, before }
  if (asJson) return printAnswer('lockdown-preview', said)
  print(`${tableOfNow(now)}
${now.length} seen in ${LOOK_MS / 1000} s talking to ${plan.address}.
${agentAnswers ? observedInWords(before) : 'The agent does not answer: what its policy says is not known.\n'}
${refusesAll === undefined ? '' : `It cannot be turned on here: ${refusesAll}\n`}Whoever is answered needs a session token for each read, which the agent issues to all.
${plan.mode === 'observe' ? 'While observing nobody is refused: this is for lockdown without --observe.\n' : ''}`)
}

/** Undefined if no agent answers: a preview is of use before there is one. */
async function observedIfAny(sockets: Sockets): Promise<readonly Observed[] | undefined> {
  try {
    return await readAdmin(sockets, ADMIN_CALLS.observed)
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    return undefined
  }
}

function tableOfNow(rows: readonly Judged<NamedReader>[]): string {
  const cells = rows.map(({ user, pid, unit, container, executable, verdict }) => [
    user,
    String(pid ?? '-'),
    container?.slice(0, 12) ?? unit ?? '-',
    executable ?? '-',
    verdict.says,
  ])
  return asTable(['USER', 'PID', 'UNIT', 'EXECUTABLE', 'VERDICT'], cells)
}

function observedInWords(rows: readonly Judged<Observed>[]): string {
  if (rows.length === 0) return 'Nobody was observed before (metabind lockdown on --observe).\n'
  const cells = rows.map(({ uid, unit, container, lastPath, verdict }) => [
    uid === undefined ? '?' : userName(uid),
    container?.slice(0, 12) ?? unit ?? '-',
    lastPath,
    verdict.says,
  ])
  return `Observed before:\n\n${asTable(['USER', 'UNIT', 'LAST PATH', 'VERDICT'], cells)}`
}
