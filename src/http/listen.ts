import { once } from 'node:events'
import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { MetabindError } from '../errors.ts'

// Connections that wait to be accepted. If this is full a Unix socket refuses at once (EAGAIN),
// and at boot everybody comes together. The kernel cuts it to net.core.somaxconn,
// 4096 by default. While systemd holds the socket and no agent runs, callers wait here too: listen(2)
// with less would shorten its queue.
const BACKLOG = 4096

/** Where a server listens on a Unix socket. */
export interface SocketPlace {
  readonly path: string
  readonly mode: number
  /** The socket that systemd made there; undefined: the server makes its own. */
  readonly descriptor: number | undefined
}

/** @throws MetabindError LISTEN_FAILED */
export function listenAt(app: FastifyInstance, place: SocketPlace): Promise<void> {
  const { path, mode, descriptor } = place
  return descriptor === undefined
    ? listenOn(app, path, mode)
    : listenOnInherited(app, path, descriptor)
}

/**
 * Listens on a Unix socket that is at `path` with `mode` from its first moment on. A socket left
 * behind by an agent that was killed is removed; one that somebody answers on is not touched.
 *
 * @throws MetabindError LISTEN_FAILED
 */
async function listenOn(app: FastifyInstance, path: string, mode: number): Promise<void> {
  await removeStale(path)
  // Nobody may connect between bind and chmod, so the socket is made for its owner alone.
  const umaskBefore = process.umask(0o177)
  try {
    await app.listen({ path, backlog: BACKLOG })
    chmodSync(path, mode)
  } catch (error) {
    throw new MetabindError('LISTEN_FAILED', path, error)
  } finally {
    process.umask(umaskBefore)
  }
}

/**
 * Takes over a socket that systemd made and listens on. Its path, mode and owner are those of the
 * socket unit; the path is never removed, since systemd keeps it for the next agent.
 *
 * @throws MetabindError LISTEN_FAILED
 */
export async function listenOnInherited(
  app: FastifyInstance,
  path: string,
  descriptor: number,
): Promise<void> {
  await app.ready()
  try {
    app.server.listen({ fd: descriptor, backlog: BACKLOG })
    await once(app.server, 'listening')
  } catch (error) {
    throw new MetabindError('LISTEN_FAILED', `descriptor ${descriptor} for ${path}`, error)
  }
}

async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket()) throw new MetabindError('LISTEN_FAILED', `${path} is not a socket.`)
  if (await answers(path)) throw new MetabindError('LISTEN_FAILED', `${path} is in use.`)
  unlinkSync(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
