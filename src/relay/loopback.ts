import { hkdfSync } from 'node:crypto'
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { MetabindError } from '../errors.ts'
import { type Cgroups, cgroups } from './cgroup.ts'
import { type CredentialsUri, credentialsUri } from './credentials-uri.ts'
import { closeGently } from './gentle-close.ts'
import { listenOnInherited } from './listen.ts'
import { type Observed, type Observer, observer } from './observe.ts'
import { type RelayParts, relay } from './relay.ts'
import { destinationOf, identifyLoopback, identifyRedirected } from './tcp-caller.ts'

/**
 * The TCP listeners, all on 127.0.0.1 and all off unless the configuration turns them on. They
 * answer as the socket does; what differs is how a caller is found.
 */

const LOOPBACK = '127.0.0.1'

export interface LoopbackConfig {
  readonly transparent: {
    readonly enabled: boolean
    readonly port: number
    readonly observe_port: number
  }
  readonly credentials_uri: { readonly enabled: boolean; readonly port: number }
}

export interface LoopbackParts {
  readonly config: LoopbackConfig
  /** What the relay on the Unix socket is made of. */
  readonly relay: RelayParts
  /** `http://ADDRESS[:PORT]` of the metadata service. */
  readonly endpoint: string
  /** The socket of credentials URLs, where systemd holds it. */
  readonly credentialsSocket: number | undefined
  readonly onRedirected: (mode: 'enforce' | 'observe') => void
  readonly onTokenless: (seen: Observed) => void
}

/** Listeners that are open, to be closed with the agent. */
export interface Loopback {
  close(): Promise<void>
  /** Who asked the metadata service directly while lockdown was observing. */
  observed(): readonly Observed[]
}

/** @throws MetabindError LISTEN_FAILED */
export async function openLoopback(parts: LoopbackParts, uris?: CredentialsUri): Promise<Loopback> {
  const { transparent, credentials_uri: uri } = parts.config
  const places = cgroups(() => performance.now())
  const opened: { close(): Promise<unknown> }[] = []
  let watching: Observer | undefined
  try {
    if (transparent.enabled) {
      const destination = destinationOf(parts.endpoint)
      const redirected = relay({
        ...parts.relay,
        identify: identifyRedirected(destination, places, () => parts.onRedirected('enforce')),
      })
      opened.push(await listenOnPort(redirected, transparent.port))
      watching = openObserver(parts, places)
      opened.push(await listenObserver(watching, transparent.observe_port))
    }
    if (uris !== undefined) {
      const app = relay({ ...parts.relay, identify: identifyLoopback(places), admit: uris.admit })
      opened.push(await listenForUris(app, uri.port, parts.credentialsSocket))
    }
  } catch (error) {
    await Promise.allSettled(opened.map((one) => one.close()))
    throw error
  }
  return {
    close: async () => void (await Promise.allSettled(opened.map((one) => one.close()))),
    observed: () => watching?.seen() ?? [],
  }
}

/**
 * The credentials URLs of this boot.
 *
 * @param salt the secret of the runtime directory, gone at reboot
 * @param iid what identifies the instance
 */
export function credentialsUris(
  config: LoopbackConfig,
  salt: Buffer,
  iid: string,
  { tokens, dialect }: Pick<RelayParts, 'tokens' | 'dialect'>,
): CredentialsUri {
  const key = Buffer.from(hkdfSync('sha256', salt, iid, 'metabind credentials uri v1', 32))
  return credentialsUri(key, config.credentials_uri.port, tokens, dialect)
}

function openObserver(parts: LoopbackParts, places: Cgroups): Observer {
  return observer({
    dialect: parts.relay.dialect,
    destination: destinationOf(parts.endpoint),
    bounds: parts.relay.bounds,
    limits: parts.relay.limits,
    cgroups: places,
    onRedirected: () => parts.onRedirected('observe'),
    onTokenless: parts.onTokenless,
  })
}

async function listenOnPort(app: FastifyInstance, port: number) {
  try {
    await app.listen({ host: LOOPBACK, port })
    return { close: () => closeGently(app) }
  } catch (error) {
    throw new MetabindError('LISTEN_FAILED', `${LOOPBACK}:${port}`, error)
  }
}

/** On the socket that systemd holds, if it does: while no agent runs, nobody else can take the port. */
async function listenForUris(app: FastifyInstance, port: number, descriptor: number | undefined) {
  if (descriptor === undefined) return listenOnPort(app, port)
  await listenOnInherited(app, `${LOOPBACK}:${port}`, descriptor)
  const at = app.server.address()
  if (at === null || typeof at === 'string' || at.address !== LOOPBACK || at.port !== port) {
    const where = `metabind-credentials-uri.socket does not listen on ${LOOPBACK}:${port}.`
    throw new MetabindError('LISTEN_FAILED', where)
  }
  return { close: () => closeGently(app) }
}

async function listenObserver({ server }: Observer, port: number) {
  try {
    server.listen(port, LOOPBACK)
    await once(server, 'listening')
  } catch (error) {
    throw new MetabindError('LISTEN_FAILED', `${LOOPBACK}:${port}`, error)
  }
  const close = async () => {
    server.close()
    server.closeAllConnections()
  }
  return { close }
}
