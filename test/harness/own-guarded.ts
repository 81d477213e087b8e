import { expect, inject, onTestFinished } from 'vitest'
import { accomplice } from './attack.ts'
import { APP, type Guarded, type GuardedOptions, OTHER, startGuarded } from './guarded.ts'
import { asUser } from './networks.ts'
import type { PeerOptions } from './peer.ts'

/** What the files of test/adversary/ about lockdown share: hosts in networks of their own, with the packaged agent. */

/** Who attacks, in these networks. */
export const INTRUDER = OTHER

/** Starts one, until the test ends. */
export async function ownGuarded(options: GuardedOptions = {}): Promise<Guarded> {
  const guarded = await startGuarded({ library: inject('library'), ...options })
  onTestFinished(guarded.stop)
  return guarded
}

/** As a user of the host, or root if none is named, in the cgroup of `within`. */
export function onHost(
  { networks }: Guarded,
  uid?: number,
  within: readonly string[] = [],
): PeerOptions {
  return { through: [...networks.hostPrefix, ...within, ...asUser(uid)] }
}

/** The same in the network of the container. */
export function inPod(
  { networks }: Guarded,
  uid?: number,
  within: readonly string[] = [],
): PeerOptions {
  return { through: [...networks.podPrefix, ...within, ...asUser(uid)] }
}

/** Python for a client of the service: `ask(method, path, headers)`, which is status and body, and `token()`. */
export const CLIENT = `import http.client,json,select,socket,sys,time
SERVICE = '100.100.100.200'
ROLE = '/latest/meta-data/ram/security-credentials/app-role'
ID = '/latest/meta-data/instance-id'
def ask(method, path, headers={}, to=(SERVICE, 80), source=None):
  there = http.client.HTTPConnection(*to, timeout=20, source_address=source)
  try:
    there.request(method, path, headers=headers)
    answer = there.getresponse()
    return answer.status, answer.read().decode('latin1')
  except (OSError, http.client.HTTPException) as error: return 0, type(error).__name__
  finally: there.close()
def token(**how): return ask('PUT', '/latest/api/token', {'x-aliyun-ecs-metadata-token-ttl-seconds': '600'}, **how)[1]
def read(path, **how): return ask('GET', path, {'x-aliyun-ecs-metadata-token': token()}, **how)
`

const WITNESS = `${CLIENT}
seen, told = [], False
while True:
  status, body = read(ROLE)
  seen.append(True if status == 200 and 'AccessKeyId' in body else f'{status} {body}')
  if len(seen) == 1: print('began', flush=True)
  if told: break
  told = bool(select.select([sys.stdin], [], [], 0.05)[0])
print(json.dumps([len(seen), [one for one in seen if one is not True]]), flush=True)`

/** Does harm while an application of the host reads its credentials at the service's address, and got them each time. */
export async function whileHostServed<T>(guarded: Guarded, harm: () => Promise<T>): Promise<T> {
  const witness = accomplice(WITNESS, [], onHost(guarded, APP))
  expect(await witness.said()).toBe('began')
  const done = await harm()
  const [times, refused]: [number, string[]] = JSON.parse(await witness.told('enough'))
  expect(refused).toEqual([])
  expect(times).toBeGreaterThan(1)
  return done
}
