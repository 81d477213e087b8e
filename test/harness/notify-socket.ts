import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** The receiving end of sd_notify(3). Node has no Unix datagram sockets, Python has. */
export interface NotifySocket {
  /** Every message so far, its lines joined by a blank. */
  readonly messages: readonly string[]
  /** The first message, past or future, after the first `skip` ones. */
  until(fits: RegExp, skip?: number): Promise<string>
  /** Reads no more, and lets the kernel's queue be full. */
  stall(): void
  /** Reads again. */
  goOn(): void
  close(): void
}

const WAIT_MS = 60_000
const RECEIVE = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True: print(s.recv(4096).decode().replace('\\n', ' '), flush=True)`

const FILL = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setblocking(False)
try:
  while True: s.sendto(b'FILL=1', sys.argv[1])
except BlockingIOError: pass`

export async function listenForNotify(path: string): Promise<NotifySocket> {
  const receiver = spawn('python3', ['-c', RECEIVE, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const messages: string[] = []
  const lines = createInterface({ input: receiver.stdout })
  await once(lines, 'line')
  lines.on('line', (line) => messages.push(line))
  return {
    messages,
    until: async (fits, skip = 0) => {
      const deadline = AbortSignal.timeout(WAIT_MS)
      for (;;) {
        const found = messages.slice(skip).find((message) => fits.test(message))
        if (found !== undefined) return found
        await once(lines, 'line', { signal: deadline }).catch(() => {
          throw new Error(`no ${fits} among ${JSON.stringify(messages)}`)
        })
      }
    },
    stall: () => {
      receiver.kill('SIGSTOP')
      execFileSync('python3', ['-c', FILL, path], { timeout: WAIT_MS })
    },
    goOn: () => void receiver.kill('SIGCONT'),
    close: () => void receiver.kill('SIGKILL'),
  }
}
