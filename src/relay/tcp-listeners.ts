import { once } from 'node:events'
import type { Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { type Cgroups, cgroups } from '../caller/cgroup-tree.ts'
import { type ContainerNetworks, containerNetworks } from '../caller/container-networks.ts'
import {
  type Destination,
  destinationOf,
  identifyContained,
  identifyLoopback,
  identifyRedirected,
} from '../caller/tcp-caller.ts'
import { MetabindError } from '../errors.ts'
import { closeGracefully } from '../http/graceful-close.ts'
import { listenOnInherited } from '../http/listen.ts'
import type { CredentialsUrls } from './credentials-url.ts'
import type { Limits } from './limits.ts'
import { type Observed, type Observer, observer } from './observe.ts'
import { relay } from './relay.ts'
import type { RelayDeps } from './relay-deps.ts'

/**
 * The TCP listeners, all off unless they are turned on. They answer as the socket does; what differs
 * is how a caller is found. They are on 127.0.0.1, but for those that systemd may hold at the address
 * of the metadata service itself: that is no address of this host, and only what lockdown's rules let
 * in arrives there.
 */

const LOOPBACK = '127.0.0.1'
const RETRY_MS = 2000

export interface TcpListenersConfig {
  readonly transparent: {
    readonly enabled: boolean
    readonly port: number
    readonly observe_port: number
  }
  readonly credentials_uri: { readonly enabled: boolean; readonly port: number }
}

type HeldByName = 'credentials-uri' | 'containers' | 'containers-observe'

export interface TcpListenersDeps {
  readonly config: TcpListenersConfig
  /** What the relay on the Unix socket is made of. */
  readonly relay: RelayDeps
  /** For users in containers: root of a container must not use up what root of the host may do. */
  readonly containersLimits: Limits
  /** `http://ADDRESS[:PORT]` of the metadata service. */
  readonly endpoint: string
  /** The sockets that systemd holds, by the names of inherited-sockets.ts. */
  readonly inherited: Readonly<Partial<Record<HeldByName, number>>>
  readonly onRedirected: (mode: 'enforce' | 'observe') => void
  readonly onTokenless: (seen: Observed) => void
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
  const { transparent, credentials_uri: url } = deps.config
  const { inherited } = deps
  const places = cgroups(() => performance.now())
  const opened: Listener[] = []
  const open = async (listen: () => Promise<Listener>) =>
    void opened.push(await listenOrLater(listen, deps.onTaken))
  const close = async () => void (await Promise.allSettled(opened.map((one) => one.close())))
  let watching: Observer | undefined
  try {
    if (transparent.enabled) {
      const destination = destinationOf(deps.endpoint)
      const networks = containerNetworks(() => performance.now())
      const onRedirected = () => deps.onRedirected('enforce')
      const identify = identifyRedirected(destination, places, onRedirected)
      await open(() => listenOnPort(relay({ ...deps.relay, identify }), transparent.port))
      const observing = openObserver(deps, destination, places, networks)
      watching = observing
      const observedAt = { address: LOOPBACK, port: transparent.observe_port }
      await open(() => listenObserver(observing.server, observedAt))
      if (inherited.containers !== undefined) {
        const contained = identifyContained(destination, networks, onRedirected)
        const limits = deps.containersLimits
        const app = relay({ ...deps.relay, limits, identify: contained })
        const descriptor = inherited.containers
        await open(() => listenHeld(app, 'metabind-containers', destination, descriptor))
      }
      if (inherited['containers-observe'] !== undefined) {
        const at = { ...destination, port: transparent.observe_port }
        const descriptor = inherited['containers-observe']
        await open(() => listenObserver(observing.containersServer, at, descriptor))
      }
    }
    if (urls !== undefined) {
      const forUrls = { ...deps.relay, identify: identifyLoopback(places), rewrite: urls.rewrite }
      await open(() => listenForUrls(relay(forUrls), url.port, inherited['credentials-uri']))
    }
  } catch (error) {
    await close()
    throw error
  }
  return { close, observed: () => watching?.seen() ?? [] }
}

interface Listener {
  close(): Promise<unknown>
}

/**
 * Listens now or, if somebody else has the port, when they have left it. A port above 1023 is any
 * user's to take: that must not keep the agent itself from running.
 */
async function listenOrLater(
  listen: () => Promise<Listener>,
  onTaken: (error: MetabindError) => void,
): Promise<Listener> {
  const first = await listenUnlessTaken(listen)
  if (!(first instanceof MetabindError)) return first
  onTaken(first)
  let listener: Listener | undefined
  const trying = setInterval(() => void again(), RETRY_MS)
  const again = async (): Promise<void> => {
    const next = await listenUnlessTaken(listen).catch(() => first)
    if (next instanceof MetabindError) return
    clearInterval(trying)
    listener = next
  }
  return {
    close: async () => {
      clearInterval(trying)
      await listener?.close()
    },
  }
}

async function listenUnlessTaken(
  listen: () => Promise<Listener>,
): Promise<Listener | MetabindError> {
  try {
    return await listen()
  } catch (error) {
    if (error instanceof MetabindError && isTaken(error.cause)) return error
    throw error
  }
}

function isTaken(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE'
}

function openObserver(
  deps: TcpListenersDeps,
  destination: Destination,
  places: Cgroups,
  networks: ContainerNetworks,
): Observer {
  return observer({
    dialect: deps.relay.dialect,
    destination,
    bounds: deps.relay.bounds,
    limits: deps.relay.limits,
    containersLimits: deps.containersLimits,
    cgroups: places,
    networks,
    onRedirected: () => deps.onRedirected('observe'),
    onTokenless: deps.onTokenless,
  })
}

async function listenOnPort(app: FastifyInstance, port: number) {
  try {
    await app.listen({ host: LOOPBACK, port })
    return { close: () => closeGracefully(app) }
  } catch (error) {
    throw new MetabindError('LISTEN_FAILED', `${LOOPBACK}:${port}`, error)
  }
}

/** On the socket that systemd holds, if it does: while no agent runs, nobody else can take the port. */
async function listenForUrls(app: FastifyInstance, port: number, descriptor: number | undefined) {
  if (descriptor === undefined) return listenOnPort(app, port)
  return listenHeld(app, 'metabind-credentials-uri', { address: LOOPBACK, port }, descriptor)
}

/** @throws MetabindError LISTEN_FAILED if the socket unit has another address than the configuration */
async function listenHeld(
  app: FastifyInstance,
  unit: string,
  at: Destination,
  descriptor: number,
): Promise<Listener> {
  await listenOnInherited(app, `${at.address}:${at.port}`, descriptor)
  requireAt(app.server, unit, at)
  return { close: () => closeGracefully(app) }
}

function requireAt(server: Server, unit: string, { address, port }: Destination): void {
  const at = server.address()
  if (at === null || typeof at === 'string' || at.address !== address || at.port !== port) {
    const where = `${unit}.socket does not listen on ${address}:${port}.`
    throw new MetabindError('LISTEN_FAILED', where)
  }
}

/** @param descriptor of the socket that systemd holds, if it does */
async function listenObserver(server: Server, at: Destination, descriptor?: number) {
  const where = descriptor === undefined ? { host: at.address, port: at.port } : { fd: descriptor }
  try {
    server.listen(where)
    await once(server, 'listening')
  } catch (error) {
    throw new MetabindError('LISTEN_FAILED', `${at.address}:${at.port}`, error)
  }
  if (descriptor !== undefined) requireAt(server, 'metabind-containers-observe', at)
  const close = async () => {
    server.close()
    server.closeAllConnections()
  }
  return { close }
}
