import { closeSync } from 'node:fs'
import { LinuxError, lastError } from './error.ts'
import { koffi } from './foreign.ts'

/**
 * The protocol of sd_notify(3): one datagram to $NOTIFY_SOCKET. Sent from here, because libsystemd
 * brings further libraries into the process and is absent in containers.
 */

/** asm-generic/socket.h, linux/un.h */
const AF_UNIX = 1
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const SUN_PATH_BYTES = 108

const libc = koffi.load('libc.so.6')
const socket = libc.func('int socket(int domain, int type, int protocol)')
const sendto = libc.func(
  'int64_t sendto(int fd, const void *buf, size_t len, int flags, const void *addr, uint32_t addrlen)',
)

/**
 * Tells the service manager, for example `READY=1`. Never waits for it.
 *
 * @returns false if NOTIFY_SOCKET is unset, that is, if nobody asked
 * @throws LinuxError when the message could not be sent; EAGAIN if the manager does not read
 */
export function notify(state: string): boolean {
  const path = process.env.NOTIFY_SOCKET
  if (path === undefined || path === '') return false
  const address = socketAddress(path)
  const message = Buffer.from(state)
  const fd: number = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  if (fd < 0) throw lastError('socket')
  try {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL
    const sent: number = sendto(fd, message, message.length, flags, address, address.length)
    if (sent !== message.length) throw lastError('sendto NOTIFY_SOCKET')
  } finally {
    closeSync(fd)
  }
  return true
}

/** struct sockaddr_un (unix(7)): family in host order, then the path; abstract names begin with NUL. */
function socketAddress(path: string): Buffer {
  const isAbstract = path.startsWith('@')
  if (!isAbstract && !path.startsWith('/')) throw new LinuxError('notify', 'EAFNOSUPPORT')
  const name = Buffer.from(isAbstract ? `\0${path.slice(1)}` : `${path}\0`)
  if (name.length > SUN_PATH_BYTES) throw new LinuxError('notify', 'ENAMETOOLONG')
  return Buffer.concat([Buffer.from(Uint16Array.of(AF_UNIX).buffer), name])
}
