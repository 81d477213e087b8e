import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** A command on a terminal of its own. */
export interface OnTerminal {
  /** All that it has written, as it came. */
  text(): string
  /** Types something; `\x03` is Ctrl-C. */
  type(keys: string): void
  /** Waits for its end: the exit code, or 128 and the number of the signal; 90 for a terminal left in another mode. */
  end(): Promise<number | null>
}

// The lines that the terminal has, in columns of 80; what is read from here is typed there.
const BRIDGE = `
import fcntl, os, pty, select, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
before = termios.tcgetattr(terminal)
typing = [0]
while True:
    for ready in select.select([terminal] + typing, [], [])[0]:
        try:
            data = os.read(ready, 65536)
        except OSError:
            data = b''
        if ready == 0 and data: os.write(terminal, data)
        elif ready == 0: typing = []
        elif data: os.write(1, data)
        else:
            after = termios.tcgetattr(terminal)
            status = os.waitpid(pid, 0)[1]
            if after != before: sys.exit(90)
            sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
`

/** Starts a command on a terminal of 80 columns and 24 lines. */
export function onTerminal(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): OnTerminal {
  const child = spawn('python3', ['-c', BRIDGE, ...command], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH, ...env },
  })
  const ended = once(child, 'close')
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8')
  })
  return {
    text: () => text,
    type: (keys) => void child.stdin.write(keys),
    end: async () => {
      await ended
      return child.exitCode
    },
  }
}
