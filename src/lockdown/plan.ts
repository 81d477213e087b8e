import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { LOCKDOWN_SECONDS_MAX } from '../admin-api.ts'
import { listenersOn } from '../caller/proc-net-tcp.ts'
import { whyNobodyNamed } from '../caller/socket-place.ts'
import { CONFIG_FILE, type Config, readConfig } from '../config.ts'
import { type Endpoint, endpointOf, parseEndpoint } from '../dialect/endpoint.ts'
import { MetabindError, UsageError } from '../errors.ts'
import { durationSeconds } from '../format/duration.ts'
import type { Lockdown } from './rules.ts'

/** What `metabind lockdown on` was asked to do, as far as it matters for the rules. */
export interface LockdownFlags {
  readonly observe?: boolean | undefined
  readonly for?: string | undefined
  readonly user?: string | undefined
  readonly containers?: string | undefined
  readonly config?: readonly string[] | undefined
  /** Only to print the rules, which needs no agent and changes nothing. */
  readonly rules?: boolean | undefined
}

const AGENT_USER = 'metabind'
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/

/**
 * Decides what the rules say, from the options and the agent's configuration.
 *
 * @throws UsageError for an option that cannot be meant
 * @throws MetabindError LOCKDOWN_UNPREPARED if the rules would guard nothing or break everybody
 */
export function planLockdown(flags: LockdownFlags): Lockdown {
  // What was typed, before anything else is looked at.
  const containers = containersOf(flags.containers ?? 'refuse')
  const forSeconds =
    flags.for === undefined ? undefined : durationSeconds('--for', flags.for, LOCKDOWN_SECONDS_MAX)
  const user = flags.user ?? AGENT_USER
  if (!USER.test(user))
    throw new UsageError(`--user takes the name of a user or a uid, not '${user}'`)
  const config = readConfig(flags.config ?? (existsSync(CONFIG_FILE) ? [CONFIG_FILE] : []))
  if (!config.transparent.enabled && !flags.rules) throw unprepared('transparent.enabled is false.')
  const places = placesOf(config, flags.observe ? 'observe' : 'enforce')
  if (!serviceOf(config).isIpv4) throw unprepared('source.endpoint is no IPv4 address.')
  return {
    ...places,
    agentUid: uidOf(user),
    containers,
    forSeconds,
  }
}

/**
 * Enforcing where the agent can name nobody would refuse everybody. Observing refuses nothing, and may
 * be turned on.
 *
 * @throws MetabindError LOCKDOWN_NOBODY_NAMED
 */
export async function requirePlaces({ mode }: Pick<Lockdown, 'mode'>): Promise<void> {
  const why = mode === 'enforce' ? await whyNobodyNamed() : undefined
  if (why !== undefined) throw new MetabindError('LOCKDOWN_NOBODY_NAMED', why)
}

type Places = Pick<Lockdown, 'mode' | 'address' | 'port' | 'listenerPort' | 'observePort'>

/** Where callers go, and where they are sent instead. */
export function placesOf(config: Config, mode: Lockdown['mode']): Places {
  const { host, port } = serviceOf(config)
  const { transparent } = config
  const observePort = transparent.observe_port
  const listenerPort = mode === 'observe' ? observePort : transparent.port
  return { mode, address: host, port, listenerPort, observePort }
}

/** Where the agent finds the metadata service. */
export function serviceOf({ source }: Config): Endpoint {
  return parseEndpoint(endpointOf(source))
}

/** What has to listen before callers are sent there. */
type Listeners = Places & Pick<Lockdown, 'agentUid' | 'containers'>

/**
 * Redirecting to a port where nobody listens would refuse every caller, and to one that somebody
 * else holds, leave them all to that one.
 *
 * @throws MetabindError LOCKDOWN_UNPREPARED
 */
export function requireListeners(plan: Listeners): void {
  const table = readFileSync('/proc/net/tcp', 'utf8')
  requireAgent(table, plan)
  if (plan.containers === 'redirect') requireSystemd(table, plan)
}

function requireAgent(table: string, { listenerPort, agentUid }: Listeners): void {
  const uids = listenersOn(table, listenerPort)
  if (uids.includes(agentUid)) return
  const where = `127.0.0.1:${listenerPort}`
  const [other] = uids
  throw unprepared(
    other === undefined
      ? `Nobody listens on ${where}.`
      : `${where} is held by user ${other}, not by the agent's user ${agentUid}.`,
  )
}

/** Only systemd can hold a socket at an address that is not the host's. */
function requireSystemd(table: string, { mode, address, port, listenerPort }: Listeners): void {
  const [unit, at] =
    mode === 'observe'
      ? ['metabind-containers-observe.socket', listenerPort]
      : ['metabind-containers.socket', port]
  if (listenersOn(table, at, address).includes(0)) return
  throw unprepared(`${unit} does not listen on ${address}:${at}.`)
}

function containersOf(text: string): Lockdown['containers'] {
  if (text === 'refuse' || text === 'leave' || text === 'redirect') return text
  throw new UsageError(`--containers takes refuse, leave or redirect, not '${text}'`)
}

/** By id(1), which knows every user that the system does. */
function uidOf(user: string): number {
  const isNumber = /^[0-9]+$/.test(user)
  const asked = isNumber ? undefined : spawnSync('id', ['-u', user], { encoding: 'utf8' })
  const text = asked === undefined ? user : asked.stdout?.trim()
  if (!/^[0-9]{1,10}$/.test(text))
    throw unprepared(`There is no user ${user}; --user names the agent's.`)
  if (Number(text) === 0)
    throw unprepared('As root the agent could not be told from any other root.')
  return Number(text)
}

function unprepared(why: string): MetabindError {
  return new MetabindError('LOCKDOWN_UNPREPARED', why)
}
