import type { Observed } from '../admin-api.ts'
import { type Cgroups, cgroups } from '../caller/cgroup-tree.ts'
import { identifyLoopback } from '../caller/tcp-caller.ts'
import type { MetabindError } from '../errors.ts'
import { listenOrLater } from '../http/listen-later.ts'
import { type HeldSocket, type Listener, listenOnTcp } from '../http/listen-tcp.ts'
import type { CredentialsUrls } from './credentials-url.ts'
import { type LockdownListenersDeps, lockdownListeners } from './lockdown-listeners.ts'
import { relay } from './relay.ts'

/**
 * The TCP listeners, all off unless they are turned on. They answer as the socket does; what differs
 * is how a caller is found. They are on 127.0.0.1, but for those that systemd may hold at the address
 * of the metadata service itself: that is no address of this host, and only what lockdown's rules let
 * in arrives there.
 */

const LOOPBACK = '127.0.0.1'

interface TcpListenersConfig {
  readonly transparent: {
    readonly enabled: boolean
    readonly port: number
    readonly observe_port: number
  }
  readonly credentials_uri: { readonly enabled: boolean; readonly port: number }
}

type HeldByName = 'credentials-uri' | 'containers' | 'containers-observe'

interface TcpListenersDeps extends LockdownListenersDeps {
  readonly config: TcpListenersConfig
  /** The sockets that systemd holds, by the names of their socket units. */
  readonly inherited: Readonly<Partial<Record<HeldByName, number>>>
  /** Told of a port that somebody else has. */
  readonly onTaken: (error: MetabindError) => void
}

/** Listeners that are open, to be closed with the agent. */
export interface TcpListeners {
  close(): Promise<void>
  /** Who asked the metadata service directly while lockdown was observing. */
  observed(): readonly Observed[]
}

/** @throws MetabindError LISTEN_FAILED, but for a port that is taken: that is tried again later */
export async function openTcpListeners(
  deps: TcpListenersDeps,
  urls?: CredentialsUrls,
): Promise<TcpListeners> {
  const places = cgroups(() => performance.now())
  const lockdown = forLockdown(deps, places)
  const listens = [...(lockdown?.listens ?? []), ...forUrls(deps, places, urls)]
  const opened: Listener[] = []
  const close = async () => void (await Promise.allSettled(opened.map((one) => one.close())))
  try {
    for (const listen of listens) opened.push(await listenOrLater(listen, deps.onTaken))
  } catch (error) {
    await close()
    throw error
  }
  return { close, observed: () => lockdown?.observed() ?? [] }
}

function forLockdown(deps: TcpListenersDeps, places: Cgroups) {
  const { enabled, port, observe_port: observePort } = deps.config.transparent
  if (!enabled) return undefined
  return lockdownListeners(deps, places, {
    address: LOOPBACK,
    port,
    observePort,
    containers: held(deps, 'containers'),
    containersObserve: held(deps, 'containers-observe'),
  })
}

function forUrls(deps: TcpListenersDeps, places: Cgroups, urls: CredentialsUrls | undefined) {
  if (urls === undefined) return []
  const at = { address: LOOPBACK, port: deps.config.credentials_uri.port }
  const relayed = { ...deps.relay, identify: identifyLoopback(places), rewrite: urls.rewrite }
  return [() => listenOnTcp(relay(relayed), at, held(deps, 'credentials-uri'))]
}

function held({ inherited }: TcpListenersDeps, name: HeldByName): HeldSocket | undefined {
  const descriptor = inherited[name]
  return descriptor === undefined ? undefined : { unit: `metabind-${name}`, descriptor }
}
