/**
 * A user waits until the agent is stopped, takes the port of credentials URLs, and answers applications with credentials
 * of its own: where no socket unit holds the port, and where one does.
 */
import { expect, onTestFinished, test } from 'vitest'
import { APP, accomplice, ownAgent } from '../harness/attack.ts'
import { freePort } from '../harness/free-port.ts'
import { holdSockets } from '../harness/held-sockets.ts'
import { runMetabind, runProgram } from '../harness/packaged-command.ts'

const TAKE = `import socket,sys,time
body = b'{"Code":"Success","AccessKeyId":"of-the-attacker"}'
while True:
  try:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind(('127.0.0.1', int(sys.argv[1]))); server.listen(); break
  except OSError as error:
    if sys.argv[2] == 'once': print(type(error).__name__, flush=True); sys.stdin.read(); sys.exit()
    time.sleep(0.05)
print('listens', flush=True)
while True:
  there, _ = server.accept(); there.recv(4096)
  there.sendall(b'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body) + body); there.close()`

test('whose port is held waits for the next agent; whose is not is told by doctor', async (context) => {
  const [held, unheld] = [await freePort(), await freePort()]
  const sockets = holdSockets({ 'credentials-uri': held })
  onTestFinished(sockets.close)
  const own = await ownAgent(context, {
    config: `credentials_uri.port = ${held}\n`,
    agent: sockets.agent,
  })
  const { instance } = own
  const url = (await runMetabind(instance, ['credential', '--uri'], { uid: APP })).stdout.trim()
  const ask = (address: string) =>
    runProgram(['curl', '-sS', '--max-time', '60', address], { uid: APP })
  expect((await ask(url)).stdout).toContain('STS.')
  await instance.agent.stop()
  const thief = accomplice(TAKE, [String(held), 'once'])
  expect(await thief.said()).toMatch(/^(OSError|PermissionError)$/)
  const waiting = ask(url)
  await instance.restartAgent()
  expect((await waiting).stdout).toContain('STS.')

  const other = await ownAgent(context, {
    config: `credentials_uri.enabled = true\ncredentials_uri.port = ${unheld}\n`,
  })
  const open = (
    await runMetabind(other.instance, ['credential', '--uri'], { uid: APP })
  ).stdout.trim()
  expect((await ask(open)).stdout).toContain('STS.')
  const configs = ['instance.toml', 'more.toml'].flatMap((name) => [
    '--config',
    `${other.directory}/${name}`,
  ])
  const doctor = await runMetabind(other.instance, ['doctor', '--json', ...configs])
  expect([doctor.code, doctor.stdout]).toEqual([
    1,
    expect.stringContaining('"credentials-port-unheld"'),
  ])
  // What it warns of is so.
  const successor = accomplice(TAKE, [String(unheld), 'patient'])
  await other.instance.agent.stop()
  expect(await successor.said()).toBe('listens')
  expect((await ask(open)).stdout).toContain('of-the-attacker')
})
