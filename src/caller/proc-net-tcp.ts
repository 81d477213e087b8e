/** A TCP socket that is connected to some address, as /proc/net/tcp lists it (proc(5)). */
export interface ConnectedSocket {
  readonly uid: number
  /** 0 if its owner has closed it; then the uid says nothing. */
  readonly inode: number
}

// The two ends. An IPv4 address in tcp6 has the same last eight digits behind a fixed beginning (RFC 4291).
const MAPPED = '(?:0000000000000000FFFF0000)?'
const LINE = new RegExp(
  `^\\s*\\d+: ${MAPPED}([0-9A-F]+:[0-9A-F]{4}) ${MAPPED}([0-9A-F]+:[0-9A-F]{4}) `,
)

const LISTENS = '0A'

/**
 * The users that listen on a port of an address, or of every address.
 *
 * @param text /proc/net/tcp
 */
export function listenersOn(text: string, port: number, address = '127.0.0.1'): number[] {
  const local = [endOf(address, port), endOf('0.0.0.0', port)]
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/)
    return local.includes(fields[1] ?? '') && fields[3] === LISTENS ? [Number(fields[7])] : []
  })
}

/**
 * The sockets in /proc/net/tcp or tcp6 whose other end is an IPv4 address and port. Sockets that
 * their owner has closed are left out.
 *
 * @param text the file
 */
export function socketsTo(text: string, address: string, port: number): ConnectedSocket[] {
  const remote = endOf(address, port)
  return text.split('\n').flatMap((line) => {
    const [, , to = ''] = LINE.exec(line) ?? []
    return to === remote ? socketOf(line) : []
  })
}

/**
 * The socket in /proc/net/tcp or tcp6 between two ends, as its owner sees them.
 *
 * @param text the file, of megabytes maybe
 */
export function socketBetween(text: string, local: End, remote: End): ConnectedSocket | undefined {
  const from = endOf(local.address, local.port)
  const to = endOf(remote.address, remote.port)
  for (const line of text.split('\n')) {
    if (!line.includes(from)) continue
    const ends = LINE.exec(line) ?? []
    const [socket] = ends[1] === from && ends[2] === to ? socketOf(line) : []
    if (socket !== undefined) return socket
  }
  return undefined
}

/** One end of a connection: an IPv4 address and port. */
export interface End {
  readonly address: string
  readonly port: number
}

/** As the kernel writes it: the address in the byte order of the machine, here little-endian. */
function endOf(address: string, port: number): string {
  const bytes = address.split('.').map(Number).reverse()
  const hexPort = port.toString(16).padStart(4, '0')
  return `${Buffer.from(bytes).toString('hex')}:${hexPort}`.toUpperCase()
}

function socketOf(line: string): ConnectedSocket[] {
  const fields = line.trim().split(/\s+/)
  const [uid, inode] = [Number(fields[7]), Number(fields[9])]
  return inode > 0 ? [{ uid, inode }] : []
}
