/**
 * While lockdown observes, a user keeps hundreds of connections to the metadata service hanging: some that the service
 * does not answer, some whose request has no end, some that read nothing; so that nobody else gets through.
 */
import { expect, test } from 'vitest'
import { accomplice } from '../harness/attack.ts'
import { CLIENT, INTRUDER, onHost, ownGuarded, whileHostServed } from '../harness/own-guarded.ts'

const HANG = `${CLIENT}
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = []
requests = [b'GET /stalled HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n', b'GET /latest/ HTTP/1.1\\r\\nHost: a\\r\\nX: ', b'',
  b'POST /latest/ HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 1000000\\r\\n\\r\\nx', b'GET /latest/ HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' * 500]
for at in range(400):
  s = socket.socket(); s.settimeout(5)
  try: s.connect((SERVICE, 80)); s.setblocking(False); s.send(requests[at % len(requests)])
  except OSError: pass
  held.append(s)
print('held', flush=True)
sys.stdin.readline()`

test('others read as if nobody did', async () => {
  const guarded = await ownGuarded()
  await guarded.lockdown('on', '--observe')
  await guarded.cloud.fault({ kind: 'stall', at: 'headers', path: '/stalled' })
  await whileHostServed(guarded, async () => {
    const hanging = accomplice(HANG, [], onHost(guarded, INTRUDER))
    expect(await hanging.said()).toBe('held')
    await whileHostServed(guarded, async () => undefined)
    expect(await guarded.metabind(['observe', '--json']).catch(({ stdout }) => stdout)).toContain(
      '"observed"',
    )
  })
  expect(guarded.instance.agent.child.exitCode).toBe(null)
})
