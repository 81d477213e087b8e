import { closeSync, rmSync } from 'node:fs'
import koffi from 'koffi'
import type { AgentOptions } from './agent.ts'

/** Listening sockets that nobody accepts on, held as systemd holds those of socket units. */
export interface HeldSockets {
  /** Starts agents with these sockets, by the protocol of sd_listen_fds(3). */
  readonly agent: AgentOptions
  close(): void
}

const AF_UNIX = 1
const AF_INET = 2
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000
const BACKLOG = 4096

const libc = koffi.load('libc.so.6')
const socket = libc.func('int socket(int domain, int type, int protocol)')
const bind = libc.func('int bind(int fd, const void *addr, uint32_t addrlen)')
const listen = libc.func('int listen(int fd, int backlog)')

/** @param places a path or a port of 127.0.0.1, by the name that LISTEN_FDNAMES gives it */
export function holdSockets(places: Readonly<Record<string, string | number>>): HeldSockets {
  const names = Object.keys(places)
  const descriptors = Object.values(places).map(listenAt)
  return {
    agent: {
      descriptors,
      // The shell becomes the agent, so its pid is the one that LISTEN_PID has to name.
      through: ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh'],
      env: { LISTEN_FDS: String(names.length), LISTEN_FDNAMES: names.join(':') },
    },
    close: () => {
      for (const descriptor of descriptors) closeSync(descriptor)
      for (const place of Object.values(places)) {
        if (typeof place === 'string') rmSync(place, { force: true })
      }
    },
  }
}

/** node:net would accept as soon as it listens, so this is the bare socket(2), bind(2), listen(2). */
function listenAt(place: string | number): number {
  const family = typeof place === 'string' ? AF_UNIX : AF_INET
  const descriptor: number = socket(family, SOCK_STREAM_CLOEXEC, 0)
  const address = Buffer.concat([Buffer.from(Uint16Array.of(family).buffer), addressOf(place)])
  if (descriptor < 0 || bind(descriptor, address, address.length) !== 0) {
    throw new Error(`cannot bind ${place}`)
  }
  if (listen(descriptor, BACKLOG) !== 0) throw new Error(`cannot listen on ${place}`)
  return descriptor
}

/** What follows the family in sockaddr_un (unix(7)) or sockaddr_in (ip(7)). */
function addressOf(place: string | number): Buffer {
  if (typeof place === 'string') return Buffer.from(`${place}\0`)
  const address = Buffer.alloc(14)
  address.writeUInt16BE(place, 0)
  address.set([127, 0, 0, 1], 2)
  return address
}
