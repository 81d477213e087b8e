import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { cgroups } from '../../src/caller/cgroup-tree.ts'
import { callerOf, uidOf } from '../../src/caller/connection.ts'
import { containerNetworks } from '../../src/caller/container-networks.ts'
import {
  identifyContained,
  identifyLoopback,
  identifyRedirected,
} from '../../src/caller/tcp-caller.ts'
import { MetabindError } from '../../src/errors.ts'

/**
 * `HOW ADDRESS PORT SERVICE_ADDRESS SERVICE_PORT`: listens, and prints a line of JSON for each
 * connection: for whom it is counted, who its caller is, or why nobody is named. HOW is `loopback`, `redirected`, `blind` (the
 * same if cgroups are out of sight) or `contained`. SIGTERM ends it.
 */
const [how = '', address = '', port = '', serviceAddress = '', servicePort = ''] =
  process.argv.slice(2)
const service = { address: serviceAddress, port: Number(servicePort) }
const places = cgroups(() => (how === 'blind' ? 0 : performance.now()))
let redirected = 0
const onRedirected = () => {
  redirected += 1
}
// Of ids that are nobody's, until that user may cause no more walks.
if (how === 'blind') for (let id = 1n; id <= 60n; id += 1n) places.pathOf(id << 40n, 61_002)

const identify = {
  loopback: identifyLoopback(places),
  redirected: identifyRedirected(service, places, onRedirected),
  blind: identifyRedirected(service, places, onRedirected),
  contained: identifyContained(
    service,
    containerNetworks(() => performance.now()),
    onRedirected,
  ),
}[how]
if (identify === undefined) throw new Error(`no such way: ${how}`)

function nameOf(socket: Socket) {
  try {
    return { caller: callerOf(socket) }
  } catch (error) {
    return { why: error instanceof MetabindError ? error.detail : undefined }
  }
}

const server = createServer({ pauseOnConnect: true }, async (socket) => {
  socket.on('error', () => socket.destroy())
  const before = redirected
  await identify(socket)
  const isOpen = !socket.destroyed
  const seen = { ...nameOf(socket), uid: uidOf(socket), isRedirected: redirected > before, isOpen }
  process.stdout.write(`${JSON.stringify(seen)}\n`)
  socket.resume()
})
server.listen(Number(port), address)
await once(server, 'listening')
process.stdout.write('listening\n')
