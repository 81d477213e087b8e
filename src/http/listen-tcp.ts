import { once } from 'node:events'
import type { Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Destination } from '../caller/socket-owner.ts'
import { MetabindError } from '../errors.ts'
import { closeGracefully, endConnections } from './graceful-close.ts'
import { listenOnInherited } from './listen.ts'

/** Something that listens, or waits until it can. */
export interface Listener {
  close(): Promise<unknown>
}

/** A socket that systemd made and listens on: while no agent runs, nobody else can take its port. */
export interface HeldSocket {
  /** Of the socket unit, without `.socket`. */
  readonly unit: string
  readonly descriptor: number
}

/**
 * Listens on a TCP port, closed gracefully.
 *
 * @param held undefined: the server makes its own socket
 * @throws MetabindError LISTEN_FAILED, also if the socket unit has another address than the configuration
 */
export async function listenOnTcp(
  app: FastifyInstance,
  at: Destination,
  held?: HeldSocket,
): Promise<Listener> {
  if (held === undefined) await listenOnOwn(app, at)
  else await listenOnInherited(app, nameOf(at), held.descriptor)
  if (held !== undefined) requireAt(app.server, held.unit, at)
  return { close: () => closeGracefully(app) }
}

async function listenOnOwn(app: FastifyInstance, at: Destination): Promise<void> {
  try {
    await app.listen({ host: at.address, port: at.port })
  } catch (error) {
    throw new MetabindError('LISTEN_FAILED', nameOf(at), error)
  }
}

/** The same for a server without fastify. */
export async function listenBare(
  server: Server,
  at: Destination,
  held?: HeldSocket,
): Promise<Listener> {
  try {
    server.listen(
      held === undefined ? { host: at.address, port: at.port } : { fd: held.descriptor },
    )
    await once(server, 'listening')
  } catch (error) {
    throw new MetabindError('LISTEN_FAILED', nameOf(at), error)
  }
  if (held !== undefined) requireAt(server, held.unit, at)
  return { close: () => endConnections(server) }
}

function requireAt(server: Server, unit: string, at: Destination): void {
  const bound = server.address()
  if (bound === null || typeof bound === 'string' || !isSame(bound, at)) {
    throw new MetabindError('LISTEN_FAILED', `${unit}.socket does not listen on ${nameOf(at)}.`)
  }
}

function isSame(one: Destination, other: Destination): boolean {
  return one.address === other.address && one.port === other.port
}

function nameOf({ address, port }: Destination): string {
  return `${address}:${port}`
}
