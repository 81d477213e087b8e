import type { Observed } from '../admin-api.ts'
import type { Cgroups } from '../caller/cgroup-tree.ts'
import { containerNetworks } from '../caller/container-networks.ts'
import { destinationOf, identifyContained, identifyRedirected } from '../caller/tcp-caller.ts'
import { type HeldSocket, type Listener, listenBare, listenOnTcp } from '../http/listen-tcp.ts'
import type { Limits } from './limits.ts'
import { observer } from './observe.ts'

import { relay } from './relay.ts'
import type { RelayDeps } from './relay-deps.ts'

export interface LockdownListenersDeps {
  /** What the relay on the Unix socket is made of. */
  readonly relay: RelayDeps
  /** For users in containers: root of a container must not use up what root of the host may do. */
  readonly containersLimits: Limits
  /** `http://ADDRESS[:PORT]` of the metadata service. */
  readonly endpoint: string
  readonly onRedirected: (mode: 'enforce' | 'observe') => void
  readonly onTokenless: (seen: Observed) => void
}

/** Where each of them listens: on 127.0.0.1 for the host, on sockets that systemd may hold for containers. */
interface LockdownPlaces {
  readonly address: string
  readonly port: number
  readonly observePort: number
  readonly containers: HeldSocket | undefined
  readonly containersObserve: HeldSocket | undefined
}

/** Listeners that are not open yet, and who was seen by those that observe. */
interface LockdownListeners {
  /** In the order in which they are to be opened. */
  readonly listens: readonly (() => Promise<Listener>)[]
  observed(): readonly Observed[]
}

/**
 * The listeners for callers that lockdown's rules bring here: in enforcing mode they are answered as on
 * the socket, in observing mode counted and passed on.
 *
 * @throws MetabindError LISTEN_FAILED if the endpoint is a name
 */
export function lockdownListeners(
  deps: LockdownListenersDeps,
  cgroups: Cgroups,
  places: LockdownPlaces,
): LockdownListeners {
  const service = destinationOf(deps.endpoint)
  const networks = containerNetworks(() => performance.now())
  const observing = observer({
    dialect: deps.relay.dialect,
    destination: service,
    bounds: deps.relay.bounds,
    limits: deps.relay.limits,
    containersLimits: deps.containersLimits,
    cgroups,
    networks,
    onRedirected: () => deps.onRedirected('observe'),
    onTokenless: deps.onTokenless,
  })
  const onRedirected = () => deps.onRedirected('enforce')
  const onHost = { ...deps.relay, identify: identifyRedirected(service, cgroups, onRedirected) }
  const inContainers = {
    ...deps.relay,
    limits: deps.containersLimits,
    identify: identifyContained(service, networks, onRedirected),
  }
  const { address, port, observePort, containers, containersObserve } = places
  const listens = [
    () => listenOnTcp(relay(onHost), { address, port }),
    () => listenBare(observing.server, { address, port: observePort }),
  ]
  if (containers !== undefined) {
    listens.push(() => listenOnTcp(relay(inContainers), service, containers))
  }
  if (containersObserve !== undefined) {
    const at = { ...service, port: observePort }
    listens.push(() => listenBare(observing.containersServer, at, containersObserve))
  }
  return { listens, observed: observing.seen }
}
