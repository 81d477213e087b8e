/**
 * A user asks for three hundred identity tokens at once, each of which the TPM has to sign, without a session token,
 * with one but no right to it, and with both.
 */
import { expect, onTestFinished, test } from 'vitest'
import {
  APP,
  ATTACKER,
  accomplice,
  ownAgent,
  SERVICE_USER,
  whileServed,
} from '../harness/attack.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'

const PATH = '/metabind/v1/identity?audience=https://service.example'
// Fewer than forty may wait for the TPM: the others are answered whatever it does.
const ASK = `import collections,select,socket,sys
line = 'GET ' + sys.argv[2] + ' HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n' + sys.argv[3].replace('+', '\\r\\n') + '\\r\\n'
held = [socket.socket(socket.AF_UNIX) for _ in range(300)]
said = collections.Counter()
for one in held: one.connect(sys.argv[1])
for one in held: one.sendall(line.encode())
while held:
  for one in select.select(held, [], [])[0]:
    got = b''
    while some := one.recv(65536): got += some
    said[got.split()[1].decode() + (' later' if b'retry-after' in got.lower() else '')] += 1
    held.remove(one)
    if len(held) == 40: print('all but forty', flush=True)
print(said['200'], said['503 later'], said['403'])`

test('few wait for the TPM, the others are told to come later, and nobody else waits', async (context) => {
  const { instance } = await ownAgent(context)
  const { metadataSocket, tpm } = instance
  const header = async (uid: number) =>
    `X-aliyun-ecs-metadata-token: ${(await tokenAs({ uid }, metadataSocket)).body}+`
  const ask = async (uid: number, headers: string) => {
    const user = accomplice(ASK, [metadataSocket, PATH, headers], { uid })
    expect(await user.said()).toBe('all but forty')
    tpm.resume()
    return user.said()
  }
  onTestFinished(() => tpm.resume())
  const [without, denied, flood = ''] = await whileServed(metadataSocket, async () => {
    const refused = [await ask(ATTACKER, ''), await ask(ATTACKER, await header(ATTACKER))]
    const headers = await header(SERVICE_USER)
    // However fast it is, all ask before it has signed for any.
    tpm.pause()
    return [...refused, await ask(SERVICE_USER, headers)]
  })
  expect([without, denied]).toEqual(['0 0 300', '0 0 300'])
  const [signed = 0, later = 0] = flood.split(' ').map(Number)
  expect(signed + later).toBe(300)
  expect(signed).toBeGreaterThanOrEqual(32)
  expect(await readAs({ uid: APP }, metadataSocket, PATH)).toMatchObject({ status: 200 })
})
