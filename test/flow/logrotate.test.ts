import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'
import { newToken } from '../harness/metabind.ts'
import { CLI } from '../harness/programs.ts'
import { requireRoot } from '../harness/root.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const SHIPPED = fileURLToPath(new URL('../../packaging/etc/logrotate', import.meta.url))
/** daemon, whom every system has, in place of the package's user. */
const USER = 'daemon'
const UID = 1

let stack: AsyncDisposableStack
let directory: string

beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratchDirectory()).path
})
afterEach(() => stack.disposeAsync())

/** An agent of another user, whose audit file is in a folder of its own, as the unit makes it. */
async function startAsUser(): Promise<{ instance: Instance; file: string }> {
  const log = join(directory, 'log')
  for (const name of ['run', 'state', 'log']) {
    mkdirSync(join(directory, name))
    chownSync(join(directory, name), UID, UID)
  }
  chmodSync(log, 0o750)
  chownSync(directory, UID, UID)
  const file = join(log, 'audit.log')
  const starting = startInstance(directory, {
    config: `[audit]\nfile = ${JSON.stringify(file)}\n`,
    agent: { uid: UID },
  })
  // As the group of the TPM has it: the agent asks until it may.
  for (const name of ['tpm/s', 'tpm/s.ctrl']) {
    const socket = join(directory, name)
    await expect.poll(() => existsSync(socket)).toBe(true)
    chownSync(socket, UID, UID)
  }
  const instance = await starting
  stack.defer(() => instance.stop())
  return { instance, file }
}

/** Runs logrotate on the shipped file, whose paths and user are those of here. Debian's own systemctl has no manager to ask. */
function rotate({ child }: Instance['agent'], file: string): string {
  const [bin, config, said] = ['bin', 'logrotate.conf', 'systemctl.said'].map((name) =>
    join(directory, name),
  ) as [string, string, string]
  mkdirSync(bin, { recursive: true })
  const systemctl = `#!/bin/sh\necho "$(id -u) $*" >>${said}\nkill -USR1 ${child.pid}\n`
  writeFileSync(join(bin, 'systemctl'), systemctl, { mode: 0o755 })
  const shipped = readFileSync(SHIPPED, 'utf8')
  writeFileSync(
    config,
    shipped
      .replace('/var/log/metabind/audit.log', file)
      .replace('metabind metabind', `${USER} ${USER}`),
    { mode: 0o644 },
  )
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}:/usr/sbin` }
  execFileSync('logrotate', ['--force', '--state', join(directory, 'rotated'), config], { env })
  return readFileSync(said, 'utf8')
}

test('the shipped file rotates the audit file, and the chain goes on', async (context) => {
  requireRoot(context, 'logrotate changes to the user of the agent')
  const { instance, file } = await startAsUser()
  await newToken(instance)
  expect(rotate(instance.agent, file)).toBe(
    '0 kill --kill-who=main --signal=USR1 metabindd.service\n',
  )
  await expect.poll(() => existsSync(file)).toBe(true)
  await newToken(instance)
  rotate(instance.agent, file)
  await expect.poll(() => existsSync(file)).toBe(true)
  await instance.agent.stop()
  const files = [`${file}.2`, `${file}.1`, file]
  expect(execFileSync(process.execPath, [CLI, 'audit', 'verify', ...files]).toString()).toContain(
    'whole',
  )
})

test('docs/audit.md shows what is shipped', () => {
  const page = readFileSync(new URL('../../docs/audit.md', import.meta.url), 'utf8')
  const lines = readFileSync(SHIPPED, 'utf8').split('\n')
  const shown = lines.filter((line) => line !== '' && !line.trimStart().startsWith('#'))
  expect(page).toContain(shown.join('\n'))
})

test('it has nothing to do where no audit file is written', async (context) => {
  requireRoot(context, 'logrotate changes to the user of the agent')
  const config = join(directory, 'logrotate.conf')
  writeFileSync(
    config,
    readFileSync(SHIPPED, 'utf8').replace('metabind metabind', `${USER} ${USER}`),
  )
  const args = ['--force', '--state', join(directory, 'rotated'), config]
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }
  expect(execFileSync('logrotate', args, { env }).toString()).toBe('')
})
