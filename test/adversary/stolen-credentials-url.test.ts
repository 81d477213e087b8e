/**
 * A user gets hold of an application's credentials URL, and asks for it: as it is, in other spellings, as root of a
 * namespace of its own, and from the very port that the application's own connection comes from.
 */
import { expect, inject, test } from 'vitest'
import { APP, ATTACKER, accomplice, attack, whileServed } from '../harness/attack.ts'
import { runMetabind } from '../harness/packaged-command.ts'

const ASK = `import json,socket,sys
port, path = int(sys.argv[1]), sys.argv[2]
def ask(path, more='', source=None, method='GET'):
  s = socket.socket(); s.settimeout(10)
  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    if source: s.bind(('127.0.0.1', source))
    s.connect(('127.0.0.1', port))
    s.sendall(f'{method} {path} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n{more}Connection: close\\r\\n\\r\\n'.encode())
    got = b''
    while more := s.recv(65536): got += more
    return got.decode()
  except OSError as error: return repr(error)
tries = [ask(path), ask('http://127.0.0.1' + path), ask(path.replace('/metabind', '//metabind')), ask(path + '/'), ask(path + '?a=1')]
tries += [ask(path, 'X-Forwarded-For: 127.0.0.1\\r\\n'), ask(path, method='HEAD'), ask(path.replace('credentials', 'credential%73'))]
tries += [ask(path, source=int(one)) for one in sys.argv[3:]]
tries += [ask(path) for _ in range(50)]
print(json.dumps([ask('/metabind/v1/credentials/' + 'A' * 43 + '/demo-role'), tries]))`
const HOLD = `import socket,sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
print(s.getsockname()[1], flush=True)
sys.stdin.read()`

test('it gets no credentials, and is not told that the URL is one', async () => {
  const target = inject('target')
  const { stdout } = await runMetabind(target, ['credential', '--uri'], { uid: APP })
  const { port, pathname } = new URL(stdout.trim())
  const heldPort = await accomplice(HOLD, [port], { uid: APP }).said()
  for (const through of [[], ['unshare', '--user', '--map-root-user']]) {
    const printed = await whileServed(target.metadataSocket, () =>
      attack(ASK, [port, pathname, heldPort], { uid: ATTACKER, through }),
    )
    const [wrong, tries]: [string, string[]] = JSON.parse(printed)
    const withoutId = (answer: string) =>
      answer.replace(/^(x-metabind-request-id|date): .*\r\n/gim, '')
    expect(wrong).toContain('METADATA_ABSENT')
    expect(withoutId(tries[0] ?? '')).toBe(withoutId(wrong))
    expect(tries.join()).not.toMatch(/AccessKey|STS\./)
  }
  const { stdout: own } = await runMetabind(
    target,
    ['exec', 'sh', '-c', `curl -sS '${stdout.trim()}'`],
    { uid: APP },
  )
  expect(own).toContain('AccessKeyId')
})
