import { lastError } from './error.ts'
import { koffi } from './foreign.ts'

/** netinet/in.h, linux/netfilter_ipv4.h */
const SOL_IP = 0
const SO_ORIGINAL_DST = 80
const AF_INET = 2

const getsockopt = koffi
  .load('libc.so.6')
  .func('int getsockopt(int fd, int level, int optname, void *optval, _Inout_ uint32_t *optlen)')

/**
 * Where a TCP connection was going before a firewall rule redirected it here; its own address if
 * none did. IPv4 only.
 *
 * @returns undefined if the kernel does not track the connection, so that no rule touched it
 * @throws LinuxError EBADF, ENOTSOCK, ENOTCONN
 */
export function originalDestination(fd: number): { address: string; port: number } | undefined {
  // struct sockaddr_in (ip(7)): family in host order, port and address in network order, padding.
  const name = Buffer.alloc(16)
  if (getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, name, [name.length]) !== 0) {
    const error = lastError('getsockopt SO_ORIGINAL_DST')
    if (error.code === 'ENOENT' || error.code === 'ENOPROTOOPT') return undefined
    throw error
  }
  const [family] = new Uint16Array(name.buffer, name.byteOffset, 1)
  if (family !== AF_INET) return undefined
  return { address: name.subarray(4, 8).join('.'), port: name.readUInt16BE(2) }
}
