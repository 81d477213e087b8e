import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startAgentProcess } from '../harness/agent.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { newToken, statusOf } from '../harness/metabind.ts'
import { CLI } from '../harness/programs.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const run = promisify(execFile)

let stack: AsyncDisposableStack
let directory: string
let instance: Instance
const at = (name: string) => join(directory, name)

beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratchDirectory()).path
  const config = `[audit]\nfile = ${JSON.stringify(at('audit.log'))}\n`
  instance = await startInstance(directory, { config })
  stack.defer(() => instance.stop())
})
afterEach(() => stack.disposeAsync())

/** What an agent ends with that is started beside the first, on the same TPM and audit file. */
async function beside(config: string): Promise<string> {
  await writeFile(at('beside.toml'), config)
  const files = ['instance.toml', 'more.toml', 'beside.toml'].map(at)
  const agent = startAgentProcess(files)
  await new Promise((resolve) => agent.child.once('close', resolve))
  expect(agent.child.exitCode).toBe(1)
  return agent.output()
}

test('a second agent on the same directories is refused before it writes anything', async () => {
  const token = await newToken(instance)
  const kept = async () => (await readFile(at('audit.log'), 'utf8')).split('"agent.started"').length
  const before = await kept()
  expect(await beside('')).toContain('metabindd: Another agent has a directory')
  for (const kind of ['runtime', 'state']) {
    const own = at(`own-${kind}`)
    await mkdir(own)
    const output = await beside(
      `[listen]\nmetadata_socket = "${at('m2')}"\nadmin_socket = "${at('a2')}"\n` +
        `[directories]\n${kind} = ${JSON.stringify(own)}\n`,
    )
    expect(output).toContain(kind === 'runtime' ? '/state' : '/run')
    expect(output).toContain('metabindd: Another agent has a directory')
  }
  expect(await kept()).toBe(before)
  expect(await statusOf(instance, token)).toBe(200)
  const verify = ['audit', 'verify', '--running', '--admin-socket', instance.adminSocket]
  const { stdout } = await run(process.execPath, [CLI, ...verify, at('audit.log')])
  expect(stdout).toContain('whole')
})

test('what an agent had is free once it has ended, however it did', async () => {
  const token = await newToken(instance)
  await instance.restartAgent('SIGKILL')
  expect(await statusOf(instance, token)).toBe(200)
  await instance.restartAgent()
  expect(await statusOf(instance, token)).toBe(200)
})
