import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { buffer, text } from 'node:stream/consumers'
import { expect, inject, onTestFinished, type TestContext } from 'vitest'
import type { AgentProcess } from './agent.ts'
import { type Finished, scratch } from './metabind.ts'
import { type Packaged, type PackagedOptions, startPackaged } from './packaged.ts'
import { endPeer, type PeerOptions, startPeer } from './peer.ts'
import { PYTHON_UNIX_HTTP } from './python-unix-http.ts'

/** What the files of test/adversary/ share: who attacks, whom, and who must be served meanwhile. */

/** A user with no right at all, and two whom the policy lets have the role's credentials, and identity tokens. */
export const ATTACKER = 61_103
export const APP = 61_104
export const SERVICE_USER = 61_105
export const CREDENTIALS_PATH = '/latest/meta-data/ram/security-credentials/demo-role'
export const APP_POLICY = `[[rule]]
name = "the application reads its credentials"
effect = "allow"
users = [${APP}]
paths = ["/latest/meta-data/ram/security-credentials/*"]

[[rule]]
name = "a service says who it is"
effect = "allow"
users = [${APP}, ${SERVICE_USER}]
paths = ["/metabind/v1/identity"]
`

/** The agent that files share, as test/adversary/shared-agent.ts starts it. */
export interface Target {
  readonly metadataSocket: string
  readonly adminSocket: string
  readonly stateDirectory: string
  readonly runtimeDirectory: string
  /** Has agent.log in it. */
  readonly directory: string
  readonly credentialsPort: number
  readonly pid: number
  readonly cloudUrl: string
  readonly instanceId: string
  readonly tcti: string
}

/** An agent of the test's own, until it ends: for attacks that restart it or need other settings. */
export async function ownAgent(
  context: TestContext,
  options: PackagedOptions & { readonly policy?: string } = {},
): Promise<Packaged> {
  const { policy = APP_POLICY, config = '' } = options
  const folder = await scratch()
  onTestFinished(() => folder[Symbol.asyncDispose]())
  const policyFile = join(folder.path, 'policy.toml')
  await writeFile(policyFile, policy)
  const packaged = await startPackaged(context, {
    library: inject('library'),
    ...options,
    config: `policy.file = ${JSON.stringify(policyFile)}\n${config}`,
  })
  onTestFinished(packaged.stop)
  return packaged
}

/** Starts the agent anew on the same everything, with more configuration; it need not become ready. */
export async function anew(packaged: Packaged, config = ''): Promise<AgentProcess> {
  const { instance, directory, launch } = packaged
  await instance.agent.stop()
  await writeFile(join(directory, 'anew.toml'), config)
  const files = ['instance.toml', 'more.toml', 'anew.toml']
  const agent = launch(files.map((name) => join(directory, name)))
  onTestFinished(() => agent.stop().then(() => undefined))
  return agent
}

/** The code for which an agent that starts is not ready yet. */
export async function whyItWaits(agent: AgentProcess): Promise<unknown> {
  return (await agent.until(({ msg }) => msg === 'boot waits')).code
}

/** Runs a Python script as the attacker, unless it is another's, to its end. @returns what it printed */
export async function attack(
  script: string,
  args: readonly string[],
  options: PeerOptions = { uid: ATTACKER },
): Promise<string> {
  const peer = startPeer(script, args, options)
  const closed = once(peer, 'close')
  peer.stdin?.end()
  const printed = peer.stdout === null ? '' : await text(peer.stdout)
  await closed
  return printed
}

/** A process of the attacker's that goes on while others act. */
export interface Accomplice {
  /** What it prints next, a line. */
  said(): Promise<string>
  /** Tells it a line. @returns what it answers, a line */
  told(line: string): Promise<string>
  readonly pid: number
  end(): Promise<void>
}

/** Starts a Python script as the attacker, unless it is another's, which ends with the test at the latest. */
export function accomplice(
  script: string,
  args: readonly string[],
  options: PeerOptions = { uid: ATTACKER },
): Accomplice {
  const peer = startPeer(script, args, options)
  onTestFinished(() => endPeer(peer))
  if (peer.stdout === null) throw new Error('no output')
  const lines = createInterface(peer.stdout)[Symbol.asyncIterator]()
  const said = async () => String((await lines.next()).value)
  const told = (line: string) => {
    peer.stdin?.write(`${line}\n`)
    return said()
  }
  return { said, told, pid: peer.pid ?? 0, end: () => endPeer(peer) }
}

/** Runs the packaged command line as another user, against an agent if one is named. */
export async function metabindAs(
  uid: number,
  args: readonly string[],
  sockets?: Pick<Target, 'metadataSocket' | 'adminSocket'>,
  through: readonly string[] = [],
): Promise<Finished> {
  const at = (name: string) => join(inject('library'), name)
  const { metadataSocket = '/nonexistent', adminSocket = '/nonexistent' } = sockets ?? {}
  const [file = '', ...rest] = [...through, at('bin/node'), at('metabind.cjs'), ...args]
  const child = spawn(file, rest, {
    ...{ uid, gid: uid, cwd: '/' },
    env: { METABIND_SOCKET: metadataSocket, METABIND_ADMIN_SOCKET: adminSocket },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [bytes, stderr] = await Promise.all([
    buffer(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { code: child.exitCode, bytes, stdout: bytes.toString(), stderr }
}

const SEND = `import socket,sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode('latin1'))
got = b''
try:
  while more := s.recv(65536): got += more
except OSError: pass
sys.stdout.buffer.write(got)`

/** Sends bytes as they are, by a process of the attacker's. @returns all that came until the end of the connection */
export function sendRaw(socketPath: string, bytes: string, options?: PeerOptions): Promise<string> {
  return attack(SEND, [socketPath, bytes], options)
}

// An application that is started again and again: a connection, a token and its credentials each time.
const WITNESS = `${PYTHON_UNIX_HTTP}import json,select
def served():
  there = Unix('metadata', timeout=60)
  there.request('PUT', '/latest/api/token', headers={'x-aliyun-ecs-metadata-token-ttl-seconds': '60'})
  token = there.getresponse().read().decode()
  there.request('GET', sys.argv[2], headers={'x-aliyun-ecs-metadata-token': token})
  answer = there.getresponse()
  body = answer.read().decode()
  return answer.status == 200 and 'AccessKeyId' in body or body
seen, told = [], False
while True:
  try: seen.append(served())
  except (OSError, http.client.HTTPException) as error: seen.append(repr(error))
  if len(seen) == 1: print('began', flush=True)
  if told: break
  told = bool(select.select([sys.stdin], [], [], 0.05)[0])
print(json.dumps([len(seen), [one for one in seen if one is not True]]), flush=True)`

/** Does harm while an application reads its credentials, and expects that it got them every time. */
export async function whileServed<T>(socketPath: string, harm: () => Promise<T>): Promise<T> {
  const witness = accomplice(WITNESS, [socketPath, CREDENTIALS_PATH], { uid: APP })
  expect(await witness.said()).toBe('began')
  const done = await harm()
  const [times, refused]: [number, string[]] = JSON.parse(await witness.told('enough'))
  expect(refused).toEqual([])
  expect(times).toBeGreaterThan(1)
  return done
}
