import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, statSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startAgentProcess } from '../harness/agent.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import {
  ask,
  INSTANCE_ID_PATH,
  newToken,
  read,
  runNode,
  scratch,
  statusOf,
  TOKEN_HEADER,
  TOKEN_PATH,
  TTL_HEADER,
} from '../harness/metabind.ts'
import { DAEMON } from '../harness/programs.ts'
import { requireRoot } from '../harness/root.ts'

/** The agent as a process: its command line, its files, its signals and its sockets. */

const metabindd = (...args: string[]) => runNode([DAEMON, ...args])

let stack: AsyncDisposableStack
let directory: string
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratch()).path
})
afterEach(() => stack.disposeAsync())

const at = (name: string) => join(directory, name)

async function started(config?: string): Promise<Instance> {
  const instance = await startInstance(directory, config === undefined ? {} : { config })
  stack.defer(() => instance.stop())
  return instance
}

async function configFile(name: string, text: string): Promise<string> {
  await writeFile(at(name), text)
  return at(name)
}

describe('the command line', () => {
  test('--help', async () => {
    const { code, stdout, stderr } = await metabindd('--help')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^Usage: metabindd \[--config FILE\]\.\.\.\n/)
  })

  test('--version', async () => {
    const { code, stdout } = await metabindd('--version')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^metabindd \d+\.\d+\.\d+\n$/)
  })

  test.each([['--confg', 'x'], ['--config'], ['stray'], ['--version=1']])(
    'wrong usage is exit 2: %s %s',
    async (...args) => {
      const { code, stdout, stderr } = await metabindd(...args.filter((arg) => arg !== undefined))
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr).toMatch(/^metabindd: [^\n]+ \(try metabindd --help\)\n$/)
    },
  )
})

describe('a configuration that is not good is exit 1, before anything is touched', () => {
  const refused = async (line: RegExp, ...files: string[]) => {
    const { code, stdout, stderr } = await metabindd(...files.flatMap((file) => ['--config', file]))
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^metabindd: [^\n]+\n$/)
    expect(stderr).toMatch(line)
  }

  test('an unknown key, with its line', async () => {
    const file = await configFile('a.toml', '# a comment\n[tpm]\ntcit = "x"\n')
    await refused(/a\.toml:3: tpm\.tcit: unknown key\..*Correct the line/, file)
  })

  test('the line in the file that has it, of several', async () => {
    const good = await configFile('good.toml', '[token]\nmax_ttl_seconds = 60\n')
    const bad = await configFile('bad.toml', '\n\n[log]\nlevel = "loud"\n')
    await refused(/bad\.toml:4: log\.level: /, bad, good)
    await refused(/bad\.toml:4: log\.level: /, good, bad)
  })

  test('not TOML, not there, a directory', async () => {
    await refused(/b\.toml:2: /, await configFile('b.toml', '[log]\nlevel = loud\n'))
    await refused(/configuration file cannot be read.*none\.toml/, at('none.toml'))
    await refused(/configuration file cannot be read/, directory)
  })
})

test('several files are one configuration: later keys replace earlier ones', async () => {
  const instance = await started('[token]\nmax_ttl_seconds = 60\n')
  const asked = async (ttl: string) =>
    (await ask(instance.metadataSocket, 'PUT', TOKEN_PATH, { [TTL_HEADER]: ttl })).status
  expect(await asked('60')).toBe(200)
  expect(await asked('61')).toBe(400)
})

describe('SIGHUP', () => {
  test('takes over a good file, and keeps the old one where it is bad', async () => {
    const instance = await started('[token]\nmax_ttl_seconds = 60\n')
    const asked = async (ttl: string) =>
      (await ask(instance.metadataSocket, 'PUT', TOKEN_PATH, { [TTL_HEADER]: ttl })).status
    const token = await newToken(instance, 60)
    const { child } = instance.agent

    await writeFile(at('more.toml'), '[token]\nmax_ttl_seconds = 120\n[log]\nlevel = "warn"\n')
    child.kill('SIGHUP')
    await expect.poll(() => asked('120')).toBe(200)
    expect(await asked('121')).toBe(400)
    expect(await statusOf(instance, token)).toBe(200)

    await writeFile(at('more.toml'), '[token]\nmax_ttl_seconds = 21601\n')
    child.kill('SIGHUP')
    const kept = await instance.agent.until(({ msg }) => String(msg).includes('not reloaded'))
    expect(kept).toMatchObject({
      level: 'error',
      cause: expect.stringMatching(/more\.toml:2: token\.max_ttl_seconds: /),
    })
    expect(await asked('120')).toBe(200)
    expect(await asked('121')).toBe(400)
    // The log level of the good file is still in force: that it was taken over is an info record.
    const told = instance.agent.records.filter(({ msg }) =>
      msg?.startsWith('configuration reloaded'),
    )
    expect(told).toEqual([])
  })
})

describe('SIGTERM', () => {
  test('ends it with 0, removes the sockets and keeps the salt', async () => {
    const instance = await started()
    expect(await instance.agent.stop()).toBe(0)
    expect(existsSync(instance.metadataSocket)).toBe(false)
    expect(existsSync(instance.adminSocket)).toBe(false)
    expect(statSync(join(instance.runtimeDirectory, 'salt')).size).toBe(32)
  })

  test('lets a request under way end well, and takes no new one', async () => {
    const instance = await started()
    instance.cloud?.faults.set({ kind: 'latency', ms: 800, path: '/latest/meta-data/mac' })
    const token = await newToken(instance)
    const underWay = read(instance, token, '/latest/meta-data/mac')
    const isAsked = () => instance.cloud?.requests.some(({ target }) => target.endsWith('/mac'))
    await expect.poll(isAsked).toBe(true)
    const ended = instance.agent.stop()
    await expect.poll(() => statusOf(instance, token).catch(String)).toMatch(/ENOENT|ECONNREFUSED/)
    expect((await underWay).status).toBe(200)
    expect(await ended).toBe(0)
  })

  test('is not held up by a connection on which nothing is asked', async () => {
    const instance = await started()
    const idle = connect(instance.metadataSocket)
    await once(idle, 'connect')
    // Ended by itself: an agent that waits is killed by the harness, and has no exit code.
    expect(await instance.agent.stop()).toBe(0)
    idle.destroy()
  })

  test('ends it while it still waits for its TPM', async () => {
    const file = await configFile('waits.toml', waitingConfig())
    const agent = startAgentProcess([file])
    await agent.until(({ msg }) => msg === 'boot waits')
    expect(await agent.stop()).toBe(0)
    const interrupted = startAgentProcess([file])
    await interrupted.until(({ msg }) => msg === 'boot waits')
    expect(await interrupted.stop('SIGINT')).toBe(0)
  })
})

function waitingConfig(runtime = directory): string {
  return `tpm.tcti = "swtpm:path=${at('no-tpm')}"
listen.metadata_socket = "${at('m.sock')}"
listen.admin_socket = "${at('a.sock')}"
directories.runtime = "${runtime}"
directories.state = "${directory}"
`
}

describe('sockets', () => {
  test('have the modes of the configuration', async () => {
    const instance = await started()
    const mode = (path: string) => statSync(path).mode & 0o7777
    expect(mode(instance.metadataSocket)).toBe(0o666)
    expect(mode(instance.adminSocket)).toBe(0o660)
  })

  test('that an agent answers on are left to it: a second one does not start', async () => {
    const instance = await started()
    const token = await newToken(instance)
    const apart = at('apart.toml')
    await mkdir(at('apart'))
    await writeFile(apart, `[directories]\nruntime = "${at('apart')}"\nstate = "${at('apart')}"\n`)
    const third = await metabindd('--config', at('instance.toml'), '--config', apart)
    expect(third.code).toBe(1)
    expect(third.stderr).toMatch(/^metabindd: .*cannot listen.*admin\.sock is in use\..*\n$/)
    const second = await metabindd('--config', at('instance.toml'))
    expect(second.code).toBe(1)
    expect(second.stderr).toMatch(/^metabindd: Another agent has a directory .*\n$/)
    expect(await statusOf(instance, token)).toBe(200)
    expect((await ask(instance.adminSocket, 'GET', '/metabind/v1/healthz')).status).toBe(200)
  })

  test('that a killed agent left behind are taken over', async () => {
    const instance = await started()
    const token = await newToken(instance)
    await instance.agent.stop('SIGKILL')
    expect(statSync(instance.metadataSocket).isSocket()).toBe(true)
    await instance.restartAgent()
    expect(await statusOf(instance, token)).toBe(200)
  })

  test('of another service are not taken', async () => {
    const other = createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.end('another')
    }).listen(at('m.sock'))
    stack.defer(() => void other.close())
    await once(other, 'listening')
    const instance = await started()
    await instance.agent.stop()
    const config = await readFile(at('instance.toml'), 'utf8')
    await writeFile(at('instance.toml'), config.replace('metadata.sock', 'm.sock'))
    const agent = await metabindd('--config', at('instance.toml'))
    expect(agent.code).toBe(1)
    expect(agent.stderr).toContain('m.sock is in use.')
    const client = connect(at('m.sock'))
    const [greeting] = await once(client, 'data')
    expect(String(greeting)).toBe('another')
  })

  test('are not put in place of a file', async () => {
    await writeFile(at('a.sock'), 'a file')
    const agent = await metabindd('--config', await configFile('c.toml', waitingConfig()))
    expect(agent.code).toBe(1)
    expect(agent.stderr).toContain('a.sock is not a socket.')
    expect(await readFile(at('a.sock'), 'utf8')).toBe('a file')
  })

  test('cannot be where there is no directory', async () => {
    const text = waitingConfig().replaceAll(`${directory}/a.sock`, '/nonexistent/a.sock')
    const agent = await metabindd('--config', await configFile('c.toml', text))
    expect(agent.code).toBe(1)
    expect(agent.stderr).toMatch(/cannot listen.*\/nonexistent\/a\.sock.*Check the path or port/)
  })
})

describe('the runtime directory', () => {
  test('with a salt that others can read ends the agent', async () => {
    mkdirSync(at('run'))
    await writeFile(at('run/salt'), Buffer.alloc(32))
    chmodSync(at('run/salt'), 0o644)
    const text = waitingConfig(at('run'))
    const agent = await metabindd('--config', await configFile('c.toml', text))
    expect(agent.code).toBe(1)
    expect(agent.stderr).toMatch(/^metabindd: .*run\/salt: accessible to others\..*0600/)
  })

  test("with another user's salt ends the agent", async (context) => {
    requireRoot(context, 'a file is given to another user')
    mkdirSync(at('run'))
    await writeFile(at('run/salt'), Buffer.alloc(32), { mode: 0o600 })
    chownSync(at('run/salt'), 65534, 65534)
    const text = waitingConfig(at('run'))
    const agent = await metabindd('--config', await configFile('c.toml', text))
    expect(agent.code).toBe(1)
    expect(agent.stderr).toContain('run/salt: another owner.')
  })

  test('that is missing ends the agent', async () => {
    const text = waitingConfig(at('none'))
    const agent = await metabindd('--config', await configFile('c.toml', text))
    expect(agent.code).toBe(1)
    expect(agent.stderr).toMatch(/does not exist\. \S+\/none .*RuntimeDirectory=/)
  })
})

test('the agent cannot be dumped', async () => {
  const instance = await started()
  const { pid } = instance.agent.child
  // An undumpable process belongs to root in /proc, and may have no core.
  expect(await readFile(`/proc/${pid}/limits`, 'utf8')).toMatch(/^Max core file size +0 +0 /m)
  const token = await newToken(instance)
  const answer = await ask(instance.metadataSocket, 'GET', INSTANCE_ID_PATH, {
    [TOKEN_HEADER]: token,
  })
  expect(answer.status).toBe(200)
})
