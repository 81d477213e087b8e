import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { ADMIN_CALLS, type Observed } from '../admin-api.ts'
import { readAdmin } from '../admin-client.ts'
import { listenersOn } from '../caller/proc-net-tcp.ts'
import { whyNobodyNamed } from '../caller/socket-place.ts'
import type { Config } from '../config.ts'
import { ERRORS } from '../error-table.ts'
import { MetabindError } from '../errors.ts'
import { lockdownState } from '../lockdown/nft.ts'
import { placesOf, requireListeners } from '../lockdown/plan.ts'
import { takesMarked } from '../lockdown/policy-route.ts'
import type { LockdownState } from '../lockdown/rules.ts'
import { configOf, type Finding, findingOf, type Installation } from './doctor-finding.ts'

const UNIT = 'metabind-lockdown.service'
const SYSTEMCTL_MS = 10_000

/** Whether the firewall rules and the agent's listeners fit together. Only root sees rules. */
export async function checkLockdown(installation: Installation): Promise<Finding[]> {
  const config = configOf(installation)
  if (!installation.isRoot || config === undefined) return []
  const { enabled } = config.transparent
  const unplaced = await unplacedFindings(config)
  if (unplaced.length > 0) return unplaced
  let state: LockdownState | undefined
  try {
    state = lockdownState()
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    return enabled ? [findingOf('firewall-unknown', error)] : []
  }
  if (state === undefined || state.state === 'rolled-back') {
    if (isUnitOn()) return [unitWithoutRules()]
    return enabled ? [notGuarded(state)] : []
  }
  const listening = listenerFindings(state, config)
  return [...listening, ...routeFindings(state), ...observingFindings(state)]
}

/** Whoever calls over TCP is refused, with rules and without: nothing else about lockdown matters then. */
async function unplacedFindings({ transparent, credentials_uri }: Config): Promise<Finding[]> {
  if (!(transparent.enabled || credentials_uri.enabled || isUnitOn())) return []
  const why = await whyNobodyNamed()
  if (why === undefined) return []
  const { remedy } = ERRORS.LOCKDOWN_NOBODY_NAMED
  const says = `The agent can name no caller over TCP, so lockdown and credentials URLs are refused. ${why}`
  return [{ id: 'lockdown-nobody-named', weight: 'broken', says, remedy }]
}

/** The unit is to guard the service: enabled for each boot, or run in this one. */
function isUnitOn(): boolean {
  return ['is-enabled', 'is-active'].some(
    (word) =>
      spawnSync('systemctl', [word, '--quiet', UNIT], { timeout: SYSTEMCTL_MS }).status === 0,
  )
}

function unitWithoutRules(): Finding {
  const says = `${UNIT} is enabled or active, but its rules are not there: it failed, or something has removed them.`
  const remedy = 'systemctl reload-or-restart metabind-lockdown puts them back.'
  return { id: 'lockdown-missing', weight: 'risk', says, remedy }
}

function notGuarded(state: LockdownState | undefined): Finding {
  const says =
    state === undefined
      ? 'The agent listens for redirected callers, but lockdown is off.'
      : 'Lockdown has rolled back: it was not confirmed in time.'
  const remedy = 'Turn it on (metabind lockdown on), or set transparent.enabled = false.'
  return { id: 'lockdown-off', weight: 'hint', says, remedy }
}

function listenerFindings(state: LockdownState, config: Config): Finding[] {
  const { agentUid, takesContainers } = state
  if (agentUid === undefined || state.state === 'rolled-back') return []
  const containers = takesContainers ? 'redirect' : 'refuse'
  try {
    requireListeners({ ...placesOf(config, state.state), agentUid, containers })
    return []
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    const says = `Lockdown sends callers into nothing. ${error.detail}`
    const remedy =
      'Start the agent with transparent.enabled = true, and the socket unit that is named; or metabind lockdown off.'
    return [{ id: 'lockdown-into-nothing', weight: 'broken', says, remedy }]
  }
}

/** Other programs that manage routing may remove what is not theirs. */
function routeFindings({ takesContainers }: LockdownState): Finding[] {
  if (!takesContainers || takesMarked()) return []
  const says =
    'Lockdown redirects containers, but the rule of the routing for them is gone: they are refused.'
  const remedy =
    'metabind lockdown on --containers redirect, or systemctl reload-or-restart metabind-lockdown.'
  return [{ id: 'lockdown-route-missing', weight: 'broken', says, remedy }]
}

/** Observing guards nothing, and is easily forgotten; with an end it ends by itself. */
function observingFindings({ state, secondsLeft }: LockdownState): Finding[] {
  if (state !== 'observe' || secondsLeft !== undefined) return []
  const says = 'Lockdown only observes, without an end: everybody reaches the metadata service.'
  const remedy =
    'When metabind observe is empty: metabind lockdown on. To stop: metabind lockdown off.'
  return [{ id: 'lockdown-observes', weight: 'hint', says, remedy }]
}

/** Whoever holds the port of credentials URLs while no agent runs hands out credentials of their own. */
export function checkCredentialsPort(installation: Installation): Finding[] {
  const uri = configOf(installation)?.credentials_uri
  if (!uri?.enabled) return []
  const uids = listenersOn(readFileSync('/proc/net/tcp', 'utf8'), uri.port)
  if (uids.includes(0)) return []
  const says = `While the agent is stopped, any user can take 127.0.0.1:${uri.port} and answer credentials URLs.`
  const remedy =
    'systemctl enable metabind-credentials-uri.socket, then systemctl restart metabindd.service metabind-credentials-uri.socket'
  return [{ id: 'credentials-port-unheld', weight: 'risk', says, remedy }]
}

/** Whoever reads without a token stops working when the console requires tokens. */
export async function checkDirectReaders({ sockets }: Installation): Promise<Finding[]> {
  let rows: readonly Observed[]
  try {
    rows = await readAdmin(sockets, ADMIN_CALLS.observed)
  } catch (error) {
    // checkAgent says why nobody answers.
    if (error instanceof MetabindError) return []
    throw error
  }
  const tokenless = rows.filter(({ readsWithoutToken }) => readsWithoutToken > 0)
  if (tokenless.length === 0) return []
  const says = `${tokenless.length} callers read the metadata service without a token.`
  const remedy = 'See metabind observe; docs/sdks.md has what to change in each.'
  return [{ id: 'reads-without-token', weight: 'hint', says, remedy }]
}
