/**
 * A local program, and a page in a browser, open the listener on 127.0.0.1 that lockdown redirects to: with the Host of
 * the service, with that of the listener, before lockdown is on and after, as a user and as root.
 */
import { expect, test } from 'vitest'
import { attack } from '../harness/attack.ts'
import { CLIENT, INTRUDER, onHost, ownGuarded, whileHostServed } from '../harness/own-guarded.ts'

const DIRECT = `${CLIENT}
seen = set()
for port in 9180, 9181:
  for host in SERVICE, f'127.0.0.1:{port}', 'localhost':
    for method, path in ('PUT', '/latest/api/token'), ('GET', ID), ('GET', ROLE), ('GET', '/metabind/v1/whoami'):
      for more in {}, {'origin': 'http://evil.example'}:
        headers = {'host': host, 'x-aliyun-ecs-metadata-token-ttl-seconds': '600', **more}
        status, body = ask(method, path, headers, to=('127.0.0.1', port))
        seen.add(body.split(':')[0])
print(*sorted(seen))`

test('the agent answers nobody there', async () => {
  const guarded = await ownGuarded()
  const direct = (uid?: number) => attack(DIRECT, [], onHost(guarded, uid))
  await whileHostServed(guarded, async () => {
    expect(await direct(INTRUDER)).toMatch(
      /^CALLER_UNKNOWN( ConnectionResetError| RemoteDisconnected| ConnectionRefusedError)*\n$/,
    )
  })
  await guarded.lockdown('on')
  await whileHostServed(guarded, async () => {
    expect(await direct(INTRUDER)).toMatch(
      /^( ?(ConnectionRefusedError|ConnectionResetError|RemoteDisconnected))+\n$/,
    )
    expect(await direct()).toMatch(/^CALLER_UNKNOWN\b/)
  })
})
