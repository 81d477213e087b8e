import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { scratch } from '../harness/metabind.ts'
import { listenForNotify, type NotifySocket } from '../harness/notify-socket.ts'
import { type RegistrarProcess, startRegistrarProcess } from './registrar-process.ts'

/** The registrar as a service: what systemd is told, and the configuration that is read again at SIGHUP. */

const stack = new AsyncDisposableStack()
let directory: string
let count = 0
beforeAll(async () => {
  directory = stack.use(await scratch()).path
})
afterAll(() => stack.disposeAsync())

interface Served {
  readonly registrar: RegistrarProcess
  readonly systemd: NotifySocket
}

async function served(more = '', env: NodeJS.ProcessEnv = {}): Promise<Served> {
  count += 1
  const path = join(directory, `notify-${count}`)
  const systemd = await listenForNotify(path)
  const options = { env: { NOTIFY_SOCKET: path, ...env } }
  const registrar = await startRegistrarProcess(join(directory, String(count)), more, options)
  onTestFinished(async () => {
    await registrar.end()
    systemd.close()
  })
  return { registrar, systemd }
}

test('systemd is told that it listens, and that it ends', async () => {
  const { registrar, systemd } = await served()
  await systemd.until(/^READY=1/)
  await registrar.end()
  await systemd.until(/^STOPPING=1/)
  expect(systemd.messages).toEqual([
    `READY=1 STATUS=serving ${registrar.url}`,
    expect.stringMatching(/^STOPPING=1/),
  ])
})

test('the watchdog is fed, and not before it serves: a first start has its own time', async () => {
  const { systemd } = await served('', { WATCHDOG_USEC: '200000' })
  await systemd.until(/^WATCHDOG=1/)
  const fed = (message: string) => message.startsWith('WATCHDOG=1')
  expect(systemd.messages.findIndex(fed)).toBeGreaterThan(0)
  expect(systemd.messages[0]).toMatch(/^READY=1/)
})

test('one that cannot begin tells systemd why', async () => {
  const path = join(directory, 'notify-failed')
  const systemd = await listenForNotify(path)
  onTestFinished(() => systemd.close())
  const more = `[trust]\nek_anchors = "${directory}/none"\n`
  const env = { NOTIFY_SOCKET: path }
  const started = startRegistrarProcess(join(directory, 'failed'), more, { env })
  // It stays for a while, so that the status can be read, and ends when it is told to.
  await Promise.all([
    expect(started).rejects.toThrow('ended with 1'),
    systemd.until(/^STATUS=cannot go on: .*none/),
  ])
})

test('so does one whose configuration is wrong', async () => {
  const path = join(directory, 'notify-wrong')
  const systemd = await listenForNotify(path)
  onTestFinished(() => systemd.close())
  const env = { NOTIFY_SOCKET: path }
  const started = startRegistrarProcess(join(directory, 'wrong'), '[unknown]\n', { env })
  await Promise.all([
    expect(started).rejects.toThrow('ended with 1'),
    systemd.until(/^STATUS=cannot go on: .*unknown/),
  ])
})

test('no other process of its user reads its memory', async () => {
  const { registrar } = await served()
  const status = await readFile(`/proc/${registrar.pid}/limits`, 'utf8')
  expect(status).toMatch(/^Max core file size +0 +0 /m)
})

describe('SIGHUP', () => {
  const nonceOf = async ({ origin }: RegistrarProcess) =>
    (await fetch(`${origin}/enrol/nonce`)).status

  test('takes over limits, and names what needs a restart', async () => {
    const { registrar, systemd } = await served('request_burst = 2\nrequests_per_second = 0.01\n')
    const ask = async () => (await fetch(`${registrar.origin}/healthz`)).status
    expect([await ask(), await ask(), await ask()]).toEqual([200, 200, 429])
    const text = await readFile(registrar.config, 'utf8')
    const changed = text.replace('request_burst = 2', 'request_burst = 5\nconnections = 7')
    await writeFile(registrar.config, changed.replace('port = 0', 'port = 1'))
    registrar.hangUp()
    await systemd.until(/^RELOADING=1/)
    await systemd.until(/^READY=1$/)
    const said = await registrar.logged('configuration reloaded; what is kept needs a restart')
    expect(said.kept).toEqual(['listen', 'limits.connections'])
    expect([await ask(), await ask(), await ask(), await ask()]).toEqual([200, 200, 200, 200])
  })

  test('keeps the old configuration when the new one is wrong', async () => {
    const { registrar, systemd } = await served('request_burst = 10000\n')
    const policy = `${registrar.config}.json`
    await writeFile(policy, 'no policy')
    const wrongs = [
      '\n[unknown]\n',
      '\n[trust]\nek_anchors = "/none"\n',
      `\n[admission]\npcr_policy = "${policy}"\n`,
    ]
    for (const [at, wrong] of wrongs.entries()) {
      const text = await readFile(registrar.config, 'utf8')
      await appendFile(registrar.config, wrong)
      registrar.hangUp()
      await systemd.until(/^READY=1$/, 1 + 2 * at)
      await writeFile(registrar.config, text)
      expect(await nonceOf(registrar)).toBe(200)
    }
    const refused = registrar.records.filter(({ msg }) => String(msg).includes('not reloaded'))
    expect(refused.map(({ cause }) => cause)).toEqual([
      expect.stringContaining('unknown'),
      expect.stringContaining('/none'),
      expect.stringContaining('policy'),
    ])
  })
})
