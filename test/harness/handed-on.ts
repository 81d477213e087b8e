import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { endPeer, type PeerOptions, startPeer } from './peer.ts'

/** Connections to a Unix socket that are open while those who made them are gone. */
export interface HandedOn {
  /** Asks for `/` on one of them. @returns the status, or 0 if it was closed */
  ask(connection: number): Promise<number>
  /** Asks so often on each of so many, without waiting for answers. @returns how long the last one took */
  burst(connections: number, times: number): Promise<number>
  end(): Promise<void>
}

// Each child connects, hands its descriptors to its parent and ends; 200 fit into one message.
const SCRIPT = `import os,resource,socket,sys,time
REQUEST = b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'
path, count = sys.argv[1], int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
while len(held) < count:
  ours, theirs = socket.socketpair()
  pid = os.fork()
  if pid == 0:
    made = [socket.socket(socket.AF_UNIX) for _ in range(min(200, count - len(held)))]
    for one in made: one.connect(path)
    socket.send_fds(theirs, [b'x'], [one.fileno() for one in made])
    os._exit(0)
  os.waitpid(pid, 0)
  for fd in socket.recv_fds(ours, 1, 253)[1]: held.append(socket.socket(fileno=fd))
  ours.close(); theirs.close()
print('held', flush=True)
def answered(one, times):
  got = b''
  while got.count(b'HTTP/1.1 ') < times or not got.endswith(b'.'):
    more = one.recv(65536)
    if more == b'': break
    got += more
  return got
for line in sys.stdin:
  what, first, times = line.split(' ')
  try:
    if what == 'ask':
      one = held[int(first)]
      one.sendall(REQUEST)
      print((answered(one, 1).split(b' ') + [b'0'])[1].decode(), flush=True)
    else:
      began = time.monotonic()
      for one in held[:int(first)]: one.sendall(REQUEST * int(times))
      for one in held[:int(first)]: answered(one, int(times))
      print(round((time.monotonic() - began) * 1000), flush=True)
  except OSError:
    print('0', flush=True)`

/** Makes them while the agent is stopped, so that it looks at each when its maker has gone. */
export async function handOn(
  options: PeerOptions,
  socketPath: string,
  count: number,
  agent: ChildProcess,
): Promise<HandedOn> {
  agent.kill('SIGSTOP')
  try {
    const peer = startPeer(SCRIPT, [socketPath, String(count)], options)
    if (peer.stdout === null) throw new Error('no output')
    const lines = createInterface(peer.stdout)[Symbol.asyncIterator]()
    const said = async () => (await lines.next()).value
    const told = async (order: string) => {
      peer.stdin?.write(`${order}\n`)
      return Number(await said())
    }
    if ((await said()) !== 'held') throw new Error('nothing was handed on')
    return {
      ask: (connection) => told(`ask ${connection} 1`),
      burst: (connections, times) => told(`burst ${connections} ${times}`),
      end: () => endPeer(peer),
    }
  } finally {
    agent.kill('SIGCONT')
  }
}
