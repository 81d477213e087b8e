import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const TRIES = 1000

/** A connection on which nothing is asked, waited for while the queue of the listener is full. */
export async function heldConnection(path: string): Promise<Socket> {
  for (let tries = 0; ; tries += 1) {
    const socket = connect(path)
    try {
      await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
      socket.on('error', () => undefined)
      return socket
    } catch (error) {
      if (tries > TRIES) throw error
      await sleep(10)
    }
  }
}
