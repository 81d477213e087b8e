import { connect, type Socket } from 'node:net'

/**
 * `SOCKET CONNECTIONS SECONDS READS REQUEST TIMES`: opens so many connections, sends the request so often
 * on each, in one piece, and keeps them open, for so long. READS is `reads` or `mute`: one that is mute
 * never reads an answer. SOCKET is a path, or a port of 127.0.0.1. A connection that is closed is made
 * anew. Prints how many were opened.
 */
const [where = '', connections = '1', seconds = '1', reads = 'mute', request = '', times = '1'] =
  process.argv.slice(2)
const bytes = Buffer.from(request.repeat(Number(times)))
let opened = 0

function open(): void {
  const socket: Socket = /^[0-9]+$/.test(where)
    ? connect(Number(where), '127.0.0.1')
    : connect(where)
  // Before it is connected: Node reads once by itself otherwise.
  if (reads === 'mute') socket.pause()
  else socket.resume()
  socket.on('connect', () => {
    opened += 1
    socket.write(bytes)
  })
  socket.on('error', () => undefined)
  // A pause, so that this does not measure how fast this script itself is.
  socket.on('close', () => setTimeout(open, 50))
}

for (let count = 0; count < Number(connections); count += 1) open()
setTimeout(() => {
  process.stdout.write(String(opened), () => process.exit(0))
}, Number(seconds) * 1000)
