import { connect } from 'node:net'

/** `SOCKET SECONDS`: holds as many connections as it gets, and goes on trying for more. */
const [socket = '', seconds = '1'] = process.argv.slice(2)
const AT_ONCE = 400

function open(): void {
  const connection = connect(socket)
  connection.resume()
  connection.on('error', () => undefined)
  // A pause, so that this does not measure how fast this script itself is.
  connection.on('close', () => setTimeout(open, 10))
}

for (let opened = 0; opened < AT_ONCE; opened += 1) open()
setTimeout(() => process.exit(0), Number(seconds) * 1000)
