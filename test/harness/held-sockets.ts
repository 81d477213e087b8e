import { closeSync, rmSync } from 'node:fs'
import koffi from 'koffi'
import type { AgentOptions } from './agent.ts'

/** Listening Unix sockets that nobody accepts on, held as systemd holds those of socket units. */
export interface HeldSockets {
  /** Starts agents with these sockets, by the protocol of sd_listen_fds(3). */
  readonly agent: AgentOptions
  close(): void
}

const AF_UNIX = 1
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000
const BACKLOG = 4096

const libc = koffi.load('libc.so.6')
const socket = libc.func('int socket(int domain, int type, int protocol)')
const bind = libc.func('int bind(int fd, const void *addr, uint32_t addrlen)')
const listen = libc.func('int listen(int fd, int backlog)')

/** @param paths where, by the name that LISTEN_FDNAMES gives it */
export function holdSockets(paths: Readonly<Record<string, string>>): HeldSockets {
  const names = Object.keys(paths)
  const descriptors = Object.values(paths).map(listenAt)
  return {
    agent: {
      descriptors,
      // The shell becomes the agent, so its pid is the one that LISTEN_PID has to name.
      through: ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh'],
      env: { LISTEN_FDS: String(names.length), LISTEN_FDNAMES: names.join(':') },
    },
    close: () => {
      for (const descriptor of descriptors) closeSync(descriptor)
      for (const path of Object.values(paths)) rmSync(path, { force: true })
    },
  }
}

/** node:net would accept as soon as it listens, so this is the bare socket(2), bind(2), listen(2). */
function listenAt(path: string): number {
  const descriptor: number = socket(AF_UNIX, SOCK_STREAM_CLOEXEC, 0)
  const family = Buffer.from(Uint16Array.of(AF_UNIX).buffer)
  const address = Buffer.concat([family, Buffer.from(`${path}\0`)])
  if (descriptor < 0 || bind(descriptor, address, address.length) !== 0) {
    throw new Error(`cannot bind ${path}`)
  }
  if (listen(descriptor, BACKLOG) !== 0) throw new Error(`cannot listen on ${path}`)
  return descriptor
}
