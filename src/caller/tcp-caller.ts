import type { Socket } from 'node:net'
import { originalDestination, socketFd } from 'metabind-linux'
import { parseEndpoint } from '../dialect/endpoint.ts'
import { MetabindError } from '../errors.ts'
import type { Caller } from './caller.ts'
import type { CgroupPlace } from './cgroup-place.ts'
import type { Cgroups } from './cgroup-tree.ts'
import { rememberCaller, rememberUid, rememberUnknown } from './connection.ts'
import { connectionsPerAddress } from './connections-per-address.ts'
import type { Contained, ContainerNetworks } from './container-networks.ts'
import { NO_GID } from './no-group.ts'
import { type Destination, socketOwner } from './socket-owner.ts'
import { placeOfSocket } from './socket-place.ts'
import { unknownBecause } from './unknown.ts'

// The kernel names the user that made a TCP socket, no process and no group. No process has pid 0.
const NO_PID = 0

/** From one address of a container at once; those beyond it are closed unheard. */
export const CONTAINED_CONNECTIONS_MAX = 256

/**
 * Identifies callers whose connections a firewall rule brought here. One that came by itself is
 * refused: any page in a local browser and any local program could open it (DNS rebinding).
 *
 * @param destination where the connections were going: the metadata service
 * @param onRedirected called for each that a rule brought here
 */
export function identifyRedirected(
  destination: Destination,
  places: Cgroups,
  onRedirected: () => void,
): (socket: Socket) => void {
  return (socket) => {
    if (!wasGoingTo(socket, destination)) {
      return rememberUnknown(socket, unknown('no rule of the firewall brought it here'))
    }
    onRedirected()
    const peer = tcpPeer(socket, destination, places)
    if (peer.uid !== process.getuid?.()) return remember(socket, peer)
    // Whoever seems to be the agent is not.
    rememberUnknown(
      socket,
      unknown('it seems to be the agent, whose connections no rule redirects'),
    )
  }
}

/**
 * Identifies callers in containers with a network of their own, whose connections the rules let come
 * to a socket with the address of the metadata service. Other machines may reach that too: for them no
 * container has the connection, so nobody is named.
 */
export function identifyContained(
  destination: Destination,
  networks: ContainerNetworks,
  onRedirected: () => void,
): (socket: Socket) => Promise<void> {
  const mayStay = connectionsPerAddress(CONTAINED_CONNECTIONS_MAX)
  return async (socket) => {
    if (!mayStay(socket)) return void socket.destroy()
    onRedirected()
    try {
      const contained = await containedOf(socket, destination, networks)
      if (contained === undefined) {
        rememberUnknown(socket, unknown('no container has its connection'))
      } else rememberCaller(socket, callerInContainer(contained))
    } catch (error) {
      rememberUnknown(socket, unknownBecause('its container cannot be looked for', error))
    }
  }
}

/** Who in a container made the other end of a connection; undefined if that cannot be told. */
export async function containedOf(
  { remoteAddress: address, remotePort: port }: Socket,
  destination: Destination,
  networks: ContainerNetworks,
): Promise<Contained | undefined> {
  if (address === undefined || port === undefined) return undefined
  return networks.ownerOf({ address, port }, destination)
}

/** Identifies callers that connected to this address itself, which must be a loopback address. */
export function identifyLoopback(places: Cgroups): (socket: Socket) => void {
  return (socket) => {
    const { localAddress = '', localPort = 0 } = socket
    remember(socket, tcpPeer(socket, { address: localAddress, port: localPort }, places))
  }
}

function remember(socket: Socket, { uid, place }: TcpPeer): void {
  if (uid !== undefined) rememberUid(socket, uid)
  if (place instanceof MetabindError) rememberUnknown(socket, place)
  else if (uid !== undefined) rememberCaller(socket, callerFor(uid, place))
}

/** Whether a connection was going to `destination` when a rule redirected it. */
export function wasGoingTo(socket: Socket, destination: Destination): boolean {
  try {
    const original = originalDestination(socketFd(socket))
    return original?.address === destination.address && original.port === destination.port
  } catch {
    // The peer has gone already: whatever it wanted, nobody waits for it.
    return false
  }
}

/**
 * Where the metadata service is, as firewall rules need it.
 *
 * @param endpoint `http://ADDRESS[:PORT]`
 * @throws MetabindError LISTEN_FAILED if the host is a name: names cannot be guarded
 */
export function destinationOf(endpoint: string): Destination {
  const { host, port, isIpv4 } = parseEndpoint(endpoint)
  if (isIpv4) return { address: host, port }
  throw new MetabindError('LISTEN_FAILED', `transparent needs an IPv4 address, not ${host}.`)
}

/** Who made the other end of a TCP connection, and where that stands or why nobody can tell. */
export interface TcpPeer {
  /** Undefined if the kernel names none. */
  readonly uid: number | undefined
  readonly place: CgroupPlace | MetabindError
}

/**
 * Asks the kernel. What fails is the answer: nothing is thrown. A caller whose cgroup is out of sight is
 * refused: nobody could say whether it is in a container, where uid 0 is not the root that a rule means.
 */
export function tcpPeer(socket: Socket, connectedTo: Destination, places: Cgroups): TcpPeer {
  let uid: number | undefined
  try {
    const owner = socketOwner(socket, connectedTo)
    uid = owner.uid
    const place = placeOfSocket(owner, places)
    return { uid, place: place ?? unknown('its control group is out of sight, or not one') }
  } catch (error) {
    const what = uid === undefined ? 'its socket' : 'its control group'
    return { uid, place: unknownBecause(`${what} cannot be looked up`, error) }
  }
}

function unknown(why: string): MetabindError {
  return new MetabindError('CALLER_UNKNOWN', why)
}

/**
 * The kernel names no process here, so its groups, its namespaces and what it runs are not known: no
 * rule that names groups or executables speaks of it.
 */
function callerFor(uid: number, place: CgroupPlace): Caller {
  return { pid: NO_PID, uid, gid: NO_GID, groups: [], namespaces: [], ...place }
}

/** Of root in a container too: a network of its own is enough to be no root that a rule means. */
function callerInContainer({ uid, container }: Contained): Caller {
  const place = container === undefined ? {} : { container }
  return { pid: NO_PID, uid, gid: NO_GID, groups: [], namespaces: ['network'], ...place }
}
