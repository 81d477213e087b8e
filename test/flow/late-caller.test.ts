import { chmod, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'
import {
  endPeer,
  isRoot,
  makeCgroups,
  NEEDS_ROOT,
  type PeerOptions,
  PYTHON,
  startPeer,
  systemdHierarchies,
} from '../harness/peer.ts'
import { reloadPolicy } from '../harness/reload.ts'
import { tokenAs } from '../harness/unix-http.ts'

/** Processes that become others, or end, between their connection and a request on it. */

const ROLE = '/latest/meta-data/ram/security-credentials/demo-role'
const OPEN = '/latest/meta-data/instance-id'
/** Refused, with no rule asked and nothing recorded: it shows that the connection was accepted. */
const NOT_JUDGED = `${OPEN}?x`
const hierarchies = isRoot ? systemdHierarchies() : []

// One connection. Each line read is requests, three words each, or `run FILE`; behind `end PID` the process ends
// first, and leaves connection and requests to its child. Of each answer its status and first word are printed.
const CLIENT = `import os,socket,sys
if sys.argv[1].isdigit():
  s = socket.socket(fileno=int(sys.argv[1]))
else:
  s = socket.socket(socket.AF_UNIX)
  s.connect(sys.argv[1])
def line():
  text = b''
  while not text.endswith(b'\\n'):
    byte = os.read(0, 1)
    if byte == b'': os._exit(0)
    text += byte
  return text.decode().split()
def ask(verb, path, token):
  name = 'x-aliyun-ecs-metadata-token' + ('-ttl-seconds' if verb == 'PUT' else '')
  s.sendall(f'{verb} {path} HTTP/1.1\\r\\nHost: m\\r\\n{name}: {token}\\r\\n\\r\\n'.encode())
  answer = b''
  while b'\\r\\n\\r\\n' not in answer: answer += s.recv(65536)
  head, body = answer.split(b'\\r\\n\\r\\n', 1)
  lengths = [one for one in head.lower().split(b'\\r\\n') if one.startswith(b'content-length:')]
  while len(body) < int(lengths[0].split(b':')[1]): body += s.recv(65536)
  print(head.split()[1].decode(), body.decode('latin1').replace(':', ' ').split()[0], flush=True)
while True:
  words = line()
  if words[0] == 'run':
    s.set_inheritable(True)
    os.execv(words[1], [words[1], '-c', sys.argv[2], str(s.fileno()), sys.argv[2]])
  if words[0] == 'end':
    if os.fork() > 0: os._exit(0)
    while os.getppid() == int(words[1]): pass
    words = words[2:]
  for at in range(0, len(words), 3): ask(*words[at:at + 3])`

let dir: string
let policyFile: string
let instance: Instance

beforeAll(async () => {
  dir = await mkdtemp('/tmp/flow-late-')
  await chmod(dir, 0o755)
  policyFile = join(dir, 'policy.toml')
  await writeFile(policyFile, '')
  instance = await startInstance(dir, { config: `[policy]\nfile = "${policyFile}"\n` })
})
afterAll(async () => {
  await instance.stop()
  await rm(dir, { recursive: true })
})

async function reload(policy: string): Promise<void> {
  const { msg } = await reloadPolicy(instance.agent, policyFile, policy)
  expect(msg).toMatch(/^configuration reloaded/)
}

function connected(options: PeerOptions = {}) {
  const peer = startPeer(CLIENT, [instance.metadataSocket, CLIENT], options)
  const input = peer.stdin
  if (peer.stdout === null || input === null) throw new Error('no pipes')
  const lines = createInterface(peer.stdout)[Symbol.asyncIterator]()
  const tell = (line: string) => void input.write(`${line}\n`)
  const next = async (): Promise<string> => (await lines.next()).value ?? ''
  const read = (path: string, token: string) => {
    tell(`GET ${path} ${token}`)
    return next()
  }
  return { peer, tell, next, read, end: () => endPeer(peer) }
}

const allowed = (who: string) => `[[rule]]\neffect = "allow"\n${who}\npaths = ["${ROLE}"]\n`

describe('of a process that has ended since it connected', () => {
  test('what needs no more than its user is answered, and what needs more is refused', async () => {
    await reload('')
    const { body: token } = await tokenAs({}, instance.metadataSocket)
    const { peer, tell, next, read, end } = connected()
    // The connection has been accepted, and nothing of the process was needed.
    expect(await read(OPEN, token)).toMatch(/^200 /)
    const reads = [OPEN, ROLE, '/metabind/v1/whoami'].map((path) => `GET ${path} ${token}`)
    tell(['end', peer.pid, ...reads, 'PUT /latest/api/token 60'].join(' '))
    expect(await next()).toMatch(/^200 /)
    // Root of the host reads the next; whether this is in a container nobody can say any more.
    const refused = [await next(), await next(), await next()]
    expect(refused).toEqual(Array(3).fill('403 CALLER_UNKNOWN'))
    const record = await instance.agent.until(
      ({ event, code, path }) =>
        event === 'request.refused' && code === 'CALLER_UNKNOWN' && path === ROLE,
    )
    expect(record).toMatchObject({ uid: process.getuid?.() })
    expect(record).not.toHaveProperty('caller')
    await end()
  })
})

describe.skipIf(!isRoot)(`where a rule names it [${NEEDS_ROOT}]`, () => {
  test('what a process runs is what it ran when it connected', async () => {
    const app = join(dir, 'app-python')
    await copyFile(PYTHON, app)
    await reload(allowed(`executables = ["${app}"]`))
    const user = { uid: 1001 }
    const { body: token } = await tokenAs(user, instance.metadataSocket)
    const own = connected({ ...user, python: app })
    expect(await own.read(ROLE, token)).toMatch(/^200 /)
    const other = connected(user)
    expect(await other.read(NOT_JUDGED, token)).toBe('400 REQUEST_QUERY')
    other.tell(`run ${app}`)
    expect(await other.read(ROLE, token)).toBe('403 POLICY_DENIED')
    await Promise.all([own.end(), other.end()])
  })

  test.skipIf(hierarchies.length === 0)('its unit is that of then, too', async () => {
    const cgroups = makeCgroups()
    const [from = '', to = ''] = ['from', 'to'].map((name) =>
      cgroups.make(`system.slice/${name}-${process.pid}.service`),
    )
    await reload(allowed(`units = ["to-${process.pid}.service"]`))
    const user = { uid: 1001, cgroups: [from] }
    const { body: token } = await tokenAs(user, instance.metadataSocket)
    const moved = connected(user)
    expect(await moved.read(NOT_JUDGED, token)).toBe('400 REQUEST_QUERY')
    await writeFile(`${to}/cgroup.procs`, String(moved.peer.pid))
    expect(await moved.read(ROLE, token)).toBe('403 POLICY_DENIED')
    const there = connected({ uid: 1001, cgroups: [to] })
    expect(await there.read(ROLE, token)).toMatch(/^200 /)
    await Promise.all([moved.end(), there.end()])
    cgroups.remove()
  })
})
