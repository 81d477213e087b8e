/**
 * Root of a container on a bridge of the host asks the metadata service itself, past the agent: by other ports, UDP, a
 * route of its own, another address of its own and the IPv6 form; then the agent's listeners by the address of the bridge.
 */
import { expect, test } from 'vitest'
import { attack } from '../harness/attack.ts'
import { CLIENT, inPod, ownGuarded, whileHostServed } from '../harness/own-guarded.ts'

const PAST = `${CLIENT}
import subprocess
def ip(*words): subprocess.run(['ip', *words], check=False)
seen = set()
def tries():
  for port in 80, 81, 443, 8080:
    seen.add(ask('GET', ID, to=(SERVICE, port))[1])
  for to in ('10.78.0.1', 9180), ('10.78.0.1', 9181), ('10.77.0.2', 9180), ('10.77.0.2', 80):
    seen.add(ask('GET', ID, {'host': SERVICE}, to=to)[1])
  s = socket.socket(socket.AF_INET6); s.settimeout(3)
  try: s.connect(('::ffff:' + SERVICE, 80)); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); seen.add(s.recv(99).decode())
  except OSError as error: seen.add(type(error).__name__)
  u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
  try: u.sendto(b'x', (SERVICE, 80))
  except OSError as error: seen.add(type(error).__name__)
tries()
ip('route', 'add', SERVICE + '/32', 'via', '10.78.0.1')
ip('addr', 'add', '10.78.0.99/24', 'dev', 'p0')
tries()
ip('addr', 'del', '10.78.0.2/24', 'dev', 'p0')
tries()
print(*sorted(seen))`

test('nothing of it arrives there, and the agent serves the host', async () => {
  const guarded = await ownGuarded({ tokens: 'optional' })
  await guarded.lockdown('on')
  await whileHostServed(guarded, async () => {
    const said = await attack(PAST, [], inPod(guarded))
    expect(said).toContain('ConnectionRefusedError')
    expect(said).not.toMatch(/i-bp1guarded|HTTP/)
  })
  const asked = await guarded.cloud.requests()
  expect(
    asked.filter(({ target }) => target === '/latest/meta-data/instance-id' || target === '/')
      .length,
  ).toBeLessThan(2)
})
