import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

/** `./dev restart NAME` and `./dev reboot NAME`: tells a running `./dev up NAME`. */
const [root = '.dev', order = '', name = ''] = process.argv.slice(2)
const socket = connect(join(root, name, 'up.sock'))
socket.write(order)
try {
  const answer = await text(socket)
  if (answer !== 'done') throw new Error(answer)
} catch (error) {
  const why = error instanceof Error ? error.message : String(error)
  process.stderr.write(`dev ${order}: ${name || 'NAME'}: ${why} (is ./dev up ${name} running?)\n`)
  process.exit(1)
}
