/**
 * A user with a range of user numbers in a namespace of its own (subuid(5)) asks as four hundred of them, and as root
 * there in hundreds of cgroups named like containers, for what is refused, so that others' rows leave the status page.
 */
import { randomBytes } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { APP, ATTACKER, attack, ownAgent, SERVICE_USER, whileServed } from '../harness/attack.ts'
import { ask } from '../harness/metabind.ts'
import { isRoot, makeCgroups } from '../harness/peer.ts'
import { readAs } from '../harness/unix-http.ts'

// Root stands in for newuidmap(1): it writes the map of the namespace, of a range that is nobody's else.
const CROWD = `import ctypes,os,socket,sys
PATHS = ['/latest/user-data', '/latest/meta-data/mac']
def read():
  for path in PATHS:
    s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1])
    s.sendall(b'PUT /latest/api/token HTTP/1.1\\r\\nHost: x\\r\\nX-aliyun-ecs-metadata-token-ttl-seconds: 60\\r\\n\\r\\n')
    token = s.recv(4096).split(b'\\r\\n\\r\\n')[1]
    s.sendall(b'GET %s HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nX-aliyun-ecs-metadata-token: %s\\r\\n\\r\\n' % (path.encode(), token))
    while s.recv(4096): pass
def child(work):
  pid = os.fork()
  if pid == 0:
    try: work()
    except OSError: pass
    os._exit(0)
  os.waitpid(pid, 0)
ready, go = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
  ctypes.CDLL(None).unshare(0x10000000)
  os.write(ready[1], b'x'); os.read(go[0], 1)
  for at in range(400):
    def work():
      os.setgid(at); os.setuid(at); read()
    child(work)
  os._exit(0)
os.read(ready[0], 1)
for name in 'uid_map', 'gid_map': open('/proc/%d/%s' % (pid, name), 'w').write('0 900000 400')
os.write(go[1], b'x')
os.waitpid(pid, 0)
for place in sys.argv[2:]:
  def work():
    open(place + '/cgroup.procs', 'w').write('0'); os.setgid(${ATTACKER}); os.setuid(${ATTACKER}); read()
  child(work)
print('done')`

test('the rows of all others are there still', async (context) => {
  if (!isRoot) context.skip()
  const cgroups = makeCgroups()
  onTestFinished(() => cgroups.remove())
  const places = Array.from({ length: 150 }, () =>
    cgroups.make(`system.slice/docker-${randomBytes(32).toString('hex')}.scope`),
  )
  const { instance } = await ownAgent(context)
  const { metadataSocket, adminSocket } = instance
  const readers = async (): Promise<{ uid: number }[]> =>
    JSON.parse((await ask(adminSocket, 'GET', '/metabind/v1/snapshot')).body).readers
  for (const uid of [0, SERVICE_USER]) await readAs({ uid }, metadataSocket, '/latest/user-data')
  await whileServed(metadataSocket, () => attack(CROWD, [metadataSocket, ...places], {}))
  const uids = (await readers()).map(({ uid }) => uid)
  expect(uids).toEqual(expect.arrayContaining([0, SERVICE_USER, APP]))
  // The crowd was there.
  expect(uids.filter((uid) => uid >= 900_000 || uid === ATTACKER).length).toBeGreaterThan(20)
})
