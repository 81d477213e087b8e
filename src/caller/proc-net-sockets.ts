import { open } from 'node:fs/promises'
import { type ConnectedSocket, type End, socketBetween } from './proc-net-tcp.ts'

/** Of one table: the sockets of some 28,000 connections. */
const TABLE_BYTES_MAX = 4 << 20
const CHUNK_BYTES = 65_536

/**
 * The socket between two ends in the network of a process.
 *
 * @throws if the process has ended
 */
export async function socketInNetworkOf(
  pid: number,
  from: End,
  to: End,
): Promise<ConnectedSocket | undefined> {
  for (const file of ['tcp', 'tcp6']) {
    const socket = await socketInTable(`/proc/${pid}/net/${file}`, from, to)
    if (socket !== undefined) return socket
  }
  return undefined
}

/** Piece by piece, and not to the end of a table that is too long: who stands behind is refused. */
async function socketInTable(
  path: string,
  from: End,
  to: End,
): Promise<ConnectedSocket | undefined> {
  const file = await open(path, 'r')
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES)
    let rest = ''
    for (let length = 0; length < TABLE_BYTES_MAX; ) {
      const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES, null)
      if (bytesRead === 0) return undefined
      length += bytesRead
      const text = rest + chunk.toString('latin1', 0, bytesRead)
      const end = text.lastIndexOf('\n') + 1
      rest = text.slice(end)
      const socket = socketBetween(text.slice(0, end), from, to)
      if (socket !== undefined) return socket
    }
    return undefined
  } finally {
    await file.close()
  }
}
