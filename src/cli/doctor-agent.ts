import { ADMIN_CALLS, type RefusedRole, type RegistrarStatus } from '../admin-api.ts'
import { readAdmin } from '../admin-client.ts'
import { makeToken } from '../client.ts'
import { ERRORS } from '../error-table.ts'
import { MetabindError } from '../errors.ts'
import { type Finding, findingOf, type Installation } from './doctor-finding.ts'
import { roleInWords } from './refused-role.ts'

/** Whether the agent runs and is ready; its own words if it is not. */
export async function checkAgent({ sockets }: Installation): Promise<Finding[]> {
  try {
    const { ready, state, problem, source, registrar } = await readAdmin(
      sockets,
      ADMIN_CALLS.status,
    )
    if (ready) {
      return [...(source.refusedRoles ?? []).map(roleFinding), ...registrarFindings(registrar)]
    }
    const says = `The agent is not ready (${state}). ${problem?.sentence ?? ''}`.trim()
    const remedy = problem?.remedy ?? 'Wait a moment; metabind status says what it waits for.'
    return [{ id: 'agent-not-ready', weight: 'broken', says, remedy }]
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    if (error.code === 'SOCKET_NOT_PERMITTED') {
      return [{ ...findingOf('admin-socket-closed', error), weight: 'hint' }]
    }
    return [findingOf('agent-away', error)]
  }
}

/** The agent has asked for its credentials, and the cloud gave a Code instead. */
function roleFinding(role: RefusedRole): Finding {
  const { sentence, remedy } = ERRORS.SOURCE_ROLE
  return { id: 'role-refused', weight: 'broken', says: `${sentence} ${roleInWords(role)}`, remedy }
}

/** What keeps callers from tokens of the registrar: it waits, or somebody has to act there. */
export function registrarFindings(registrar: RegistrarStatus | undefined): Finding[] {
  if (registrar === undefined) return []
  const { state, url, problem, next } = registrar
  if (state === 'enrolled') {
    if (problem === undefined) return []
    const away = `${url} does not answer: there are no tokens but those that are kept. ${problem.sentence}`
    return [{ id: 'registrar-away', weight: 'broken', says: away, remedy: problem.remedy }]
  }
  const says = `${url} gives this instance no tokens (${state}). ${problem?.sentence ?? ''}`.trim()
  const held = 'Approve the instance there: metabind-registrar approve.'
  const remedy = state === 'held' ? held : (problem?.remedy ?? `Wait: the agent asks at ${next}.`)
  return [{ id: 'registrar-not-enrolled', weight: 'broken', says, remedy }]
}

/** Whether this user gets a token. */
export async function checkMetadataSocket({ sockets }: Installation): Promise<Finding[]> {
  try {
    await makeToken(sockets, '1')
    return []
  } catch (error) {
    if (error instanceof MetabindError) return [findingOf('no-token', error)]
    throw error
  }
}
