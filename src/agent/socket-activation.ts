import { MetabindError } from '../errors.ts'

/** Listening sockets and open logs that systemd made before the agent, by their FileDescriptorName= and OpenFile=. */
export type InheritedSockets = Readonly<Partial<Record<SocketName, number>>>

type SocketName = (typeof NAMES)[number]

const NAMES = [
  'metadata',
  'admin',
  'metrics',
  'credentials-uri',
  'containers',
  'containers-observe',
  'firmware-log',
  'systemd-log',
  'ima-log',
] as const
/** sd_listen_fds(3): the first descriptor passed. */
const LISTEN_FDS_START = 3

/**
 * The protocol of sd_listen_fds(3). Descriptors for another process (LISTEN_PID) are not ours.
 *
 * @throws MetabindError LISTEN_FAILED for a socket without a name that the agent knows
 */
export function inheritedSockets(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): InheritedSockets {
  if (env.LISTEN_PID !== String(pid)) return {}
  const count = Number(env.LISTEN_FDS ?? 0)
  const names = (env.LISTEN_FDNAMES ?? '').split(':')
  const sockets: Partial<Record<SocketName, number>> = {}
  for (let at = 0; at < count; at += 1) {
    const name = NAMES.find((known) => known === names[at])
    if (name === undefined || sockets[name] !== undefined) {
      const wanted = `FileDescriptorName=${NAMES.join(' or ')}, each once`
      throw new MetabindError('LISTEN_FAILED', `Socket unit with ${names[at]}: want ${wanted}.`)
    }
    sockets[name] = LISTEN_FDS_START + at
  }
  return sockets
}
