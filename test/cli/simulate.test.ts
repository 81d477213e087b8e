import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { simulate } from '../../src/cli/simulate.ts'
import { UsageError } from '../../src/errors.ts'
import { get } from '../simulate/request.ts'

const ID = '/latest/meta-data/instance-id'
const VERB = new URL('../../src/cli/simulate.ts', import.meta.url).href
const MAIN = `import { simulate } from ${JSON.stringify(VERB)}
process.exitCode = await simulate.run(process.argv.slice(1))`

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'simulate-'))
})
afterAll(() => rm(directory, { recursive: true }))

/** What a failed test leaves behind would outlive the test run. */
const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

async function launch(...args: string[]) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', MAIN, '--', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  const lines: string[] = []
  const reader = createInterface(child.stdout).on('line', (line) => lines.push(line))
  await once(reader, 'line')
  const stop = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    return (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  }
  return { lines, stop }
}

test('it says where it listens, and nothing else, until SIGTERM', async () => {
  const { lines, stop } = await launch('--tokens', 'optional', '--instance-id', 'i-given')
  const url = /^listening on (http:\/\/127\.0\.0\.1:\d+)$/.exec(lines[0] ?? '')?.[1] ?? ''
  expect((await get(url, ID)).body).toBe('i-given')
  expect((await get(url, '/latest/meta-data/ram/security-credentials/')).body).toBe('EcsRamRole')
  expect((await get(url, '/_simulator/faults')).status).toBe(404)
  expect(await stop('SIGTERM')).toEqual([0, null])
  expect(lines).toHaveLength(1)
})

test('its flags arrive', async () => {
  const file = (name: string) => join(directory, name)
  await writeFile(file('user-data'), '#cloud-config\n')
  const { lines, stop } = await launch(
    ...['--json', '--control', '--socket', file('ecs.sock'), '--region', 'eu-central-1'],
    ...['--no-role', '--tag', 'stage=a=b', '--user-data', file('user-data')],
    ...['--fault', '{"kind":"status","code":500,"path":"/latest/meta-data/mac"}'],
    ...['--certificate-out', file('certificate.pem'), '--tokens', 'optional'],
  )
  const { url, instanceId, certificatePem } = JSON.parse(lines[0] ?? '')
  const read = async (path: string) => (await get(url, path)).body
  expect(url).toBe(`unix:${file('ecs.sock')}`)
  expect(await read(ID)).toBe(instanceId)
  expect(await read('/latest/meta-data/region-id')).toBe('eu-central-1')
  expect(await read('/latest/meta-data/tags/instance/stage')).toBe('a=b')
  expect(await read('/latest/user-data')).toBe('#cloud-config\n')
  expect((await get(url, '/latest/meta-data/ram/')).status).toBe(404)
  expect((await get(url, '/latest/meta-data/mac')).status).toBe(500)
  expect(await read('/_simulator/certificate')).toBe(certificatePem)
  expect(await readFile(file('certificate.pem'), 'utf8')).toBe(certificatePem)
  expect(await stop('SIGINT')).toEqual([0, null])
})

test.each([
  ['--port', '65536'],
  ['--port', 'http'],
  ['--port', ''],
  ['--prot', '1'],
  ['--tokens', 'sometimes'],
  ['--credential-lifetime', '0'],
  ['--fault', '{"kind":"earthquake"}'],
  ['--fault', '{'],
  ['--tag', 'novalue'],
  ['--tag', '..=x'],
  ['--role', 'a/b'],
  ['--role', 'a', '--no-role'],
  ['--socket', '/tmp/x', '--port', '1'],
  ['stray'],
])('bad usage is a UsageError: %s %s', async (...args) => {
  await expect(simulate.run(args)).rejects.toBeInstanceOf(UsageError)
})

test.each([
  [['--user-data', '/nonexistent/file'], 'FILE_UNUSABLE'],
  [['--certificate-out', '/nonexistent/file'], 'FILE_UNUSABLE'],
  [['--socket', '/nonexistent/socket'], 'LISTEN_SIMULATOR'],
])('%j fails with %s', async (args, code) => {
  await expect(simulate.run(args)).rejects.toMatchObject({ code })
})

test('the documentation shows the help', async () => {
  const documentation = await readFile(new URL('../../docs/simulate.md', import.meta.url), 'utf8')
  expect(documentation).toContain(simulate.help)
})
