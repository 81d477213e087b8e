import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

/** `./dev reload NAME`, `./dev restart NAME` and `./dev reboot NAME`: tells a running `./dev up NAME`. */
const [root = '.dev', order = '', name = ''] = process.argv.slice(2)
const socket = connect(join(root, name, 'up.sock'))
socket.write(order)
const answer = await text(socket).catch((error: Error) => {
  return `${error.message} (is ./dev up ${name} running?)`
})
if (answer !== 'done') {
  process.stderr.write(`dev ${order}: ${name}: ${answer}\n`)
  process.exit(1)
}
