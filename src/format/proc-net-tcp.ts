/** A TCP socket that is connected to some address, as /proc/net/tcp lists it (proc(5)). */
export interface ConnectedSocket {
  readonly uid: number
  /** 0 where its owner has closed it; then the uid says nothing. */
  readonly inode: number
}

const LINE = /^\s*\d+: [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]+):([0-9A-F]{4}) /

const LISTENS = '0A'

/**
 * The users that listen on a port of 127.0.0.1, or of every address.
 *
 * @param text /proc/net/tcp
 */
export function listenersOn(text: string, port: number): number[] {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0')
  const local = [`0100007F:${hexPort}`, `00000000:${hexPort}`]
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/)
    return local.includes(fields[1] ?? '') && fields[3] === LISTENS ? [Number(fields[7])] : []
  })
}

/**
 * The sockets in /proc/net/tcp or tcp6 whose other end is an IPv4 address and port. Sockets that
 * their owner has closed are left out.
 *
 * @param text the file; addresses in it are in the byte order of the machine, here little-endian
 */
export function socketsTo(text: string, address: string, port: number): ConnectedSocket[] {
  const bytes = address.split('.').map(Number).reverse()
  const ipv4 = Buffer.from(bytes).toString('hex').toUpperCase()
  const wanted = [ipv4, `0000000000000000FFFF0000${ipv4}`]
  return text.split('\n').flatMap((line) => {
    const [, remote = '', hexPort = ''] = LINE.exec(line) ?? []
    if (!wanted.includes(remote) || Number.parseInt(hexPort, 16) !== port) return []
    const fields = line.trim().split(/\s+/)
    const [uid, inode] = [Number(fields[7]), Number(fields[9])]
    return inode > 0 ? [{ uid, inode }] : []
  })
}
