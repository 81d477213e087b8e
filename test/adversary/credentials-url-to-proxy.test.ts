/**
 * A user runs a proxy on the loopback address, and has an application start with http_proxy pointing there. Then it
 * waits for the application's credentials URL, secret and all, to come by.
 */
import { expect, inject, test } from 'vitest'
import { APP, accomplice, whileServed } from '../harness/attack.ts'
import { runMetabind } from '../harness/packaged-command.ts'

const PROXY = `import socket
server = socket.create_server(('127.0.0.1', 0))
print(server.getsockname()[1], flush=True)
while True:
  there, _ = server.accept()
  print(there.recv(4096).split(b'\\r\\n')[0].decode(), flush=True)
  there.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\nproxy'); there.close()`
const ASK = 'curl -sS "$ALIBABA_CLOUD_CREDENTIALS_URI"; curl -sS http://elsewhere.example/after'

test('it sees requests to other hosts, and nothing of the credentials', async () => {
  const target = inject('target')
  const proxy = accomplice(PROXY, [])
  const address = `http://127.0.0.1:${await proxy.said()}`
  for (const env of [
    { http_proxy: address, HTTP_PROXY: address, ALL_PROXY: address },
    { http_proxy: address, no_proxy: 'internal.example' },
    { all_proxy: address, NO_PROXY: '' },
  ]) {
    const { stdout } = await whileServed(target.metadataSocket, () =>
      runMetabind(target, ['exec', 'sh', '-c', ASK], { uid: APP, env }),
    )
    expect(stdout).toMatch(/"AccessKeyId"[\s\S]*proxy$/)
    expect(await proxy.said()).toBe('GET http://elsewhere.example/after HTTP/1.1')
  }
})
