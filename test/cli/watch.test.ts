import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { wrapped } from '../../src/cli/watch.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { scratch } from '../harness/metabind.ts'
import { CLI } from '../harness/programs.ts'
import { onTerminal } from '../harness/pty.ts'

/** `metabind status --watch`, on a real terminal. */

const COMMAND = [process.execPath, CLI, 'status', '--watch']
const ESC = '\x1b'
const COLOUR = new RegExp(`${ESC}\\[[0-9;]*[1-9][0-9;]*m`)
const ESCAPE = new RegExp(`${ESC}\\[[0-9;?]*[A-Za-z]`, 'g')
const LEAVE = '\x1b[?25h\x1b[?1049l'
const EXIT_INTERRUPTED = 130

const stack = new AsyncDisposableStack()
let instance: Instance

beforeAll(async () => {
  const { path } = stack.use(await scratch())
  instance = await startInstance(path, { certified: true })
  stack.defer(() => instance.stop())
})
afterAll(() => stack.disposeAsync())

const env = (more: Readonly<Record<string, string>>) => ({
  METABIND_ADMIN_SOCKET: instance.adminSocket,
  METABIND_SOCKET: instance.metadataSocket,
  TERM: 'xterm',
  ...more,
})

/** What the terminal shows after the last page was drawn. */
const lastPage = (text: string) =>
  (text.split('\x1b[H').at(-1) ?? '').replaceAll(ESCAPE, '').split('\r\n')

describe('on a terminal', () => {
  test('draws, says that the agent is lost, goes on, and leaves all as it was', async () => {
    const terminal = onTerminal(COMMAND, env({}))
    await expect.poll(() => lastPage(terminal.text()).join()).toContain('state     ready')
    expect(terminal.text()).toContain('\x1b[32mstate     ready')
    await instance.agent.stop()
    await expect.poll(() => lastPage(terminal.text()).join()).toContain('no agent answers, since')
    expect(lastPage(terminal.text()).join('\n')).toContain('SOCKET_ABSENT: No agent listens')
    await instance.restartAgent()
    await expect.poll(() => lastPage(terminal.text()).join()).toContain('state     ready')
    terminal.type('\x03')
    expect(await terminal.end()).toBe(EXIT_INTERRUPTED)
    expect(terminal.text().trimEnd().replace(/\^C/, '').endsWith(LEAVE)).toBe(true)
  })

  test('no line is wider than it, nor are there more than it has', async () => {
    const terminal = onTerminal(COMMAND, env({}))
    await expect.poll(() => lastPage(terminal.text()).length).toBeGreaterThan(5)
    await expect.poll(() => terminal.text().split('\x1b[H').length).toBeGreaterThan(2)
    terminal.type('\x03')
    await terminal.end()
    for (const page of terminal.text().split('\x1b[H').slice(1)) {
      const lines = lastPage(page)
      expect(lines.length).toBeLessThanOrEqual(24)
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(80)
    }
  })

  test('in no colour where nobody wants any, and plainly where nothing can be drawn', async () => {
    const plain = onTerminal(COMMAND, env({ NO_COLOR: '1' }))
    await expect.poll(() => lastPage(plain.text()).join()).toContain('state     ready')
    plain.type('\x03')
    expect(await plain.end()).toBe(EXIT_INTERRUPTED)
    expect(plain.text()).not.toMatch(COLOUR)
    for (const TERM of ['dumb', '']) {
      const dumb = onTerminal(COMMAND, env({ TERM }))
      await expect.poll(() => dumb.text()).toContain('version ')
      dumb.type('\x03')
      expect(await dumb.end()).toBe(EXIT_INTERRUPTED)
      expect(dumb.text()).not.toContain('\x1b')
    }
  })

  test('another signal ends it as well, and leaves all as it was', async () => {
    const terminal = onTerminal(['sh', '-c', 'echo "$$ "; exec "$@"', 'sh', ...COMMAND], env({}))
    await expect.poll(() => lastPage(terminal.text()).join()).toContain('state     ready')
    process.kill(Number.parseInt(terminal.text(), 10), 'SIGTERM')
    expect(await terminal.end()).toBe(143)
    expect(terminal.text().endsWith(LEAVE)).toBe(true)
  })
})

describe('into a pipe', () => {
  const started = (...args: string[]) => {
    const child = spawn(process.execPath, [...COMMAND.slice(1), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env({ METABIND_ADMIN_SOCKET: '/nonexistent/admin.sock' }) },
    })
    const lines: string[] = []
    createInterface(child.stdout).on('line', (line) => lines.push(line))
    return { child, lines }
  }

  test('with --json a line each time, also of an agent that is not there', async () => {
    const { child, lines } = started('--json')
    await expect.poll(() => lines.length).toBeGreaterThan(1)
    child.kill('SIGINT')
    await once(child, 'close')
    expect(child.signalCode).toBe('SIGINT')
    for (const line of lines) {
      expect(JSON.parse(line)).toMatchObject({ schema: 'metabind.lost/1', code: 'SOCKET_ABSENT' })
    }
  })

  test('that is closed it ends in silence', async () => {
    const { child } = started('--json')
    let complaint = ''
    child.stderr.on('data', (chunk) => {
      complaint += chunk
    })
    await once(child.stdout, 'data')
    child.stdout.destroy()
    await once(child, 'close')
    expect({ code: child.exitCode, complaint }).toEqual({ code: 141, complaint: '' })
  })
})

test.each([
  ['', []],
  ['a', ['name  a']],
  [`${'word '.repeat(30)}end`, 3],
  ['x'.repeat(200), 3],
])('a text is broken into lines below its name: %j', (text, lines) => {
  const broken = wrapped('name  ', text).map((line) => line.text)
  if (Array.isArray(lines)) expect(broken).toEqual(lines.length === 0 ? ['name  '] : lines)
  else expect(broken).toHaveLength(lines)
  for (const line of broken) expect(line.length).toBeLessThanOrEqual(80)
  for (const line of broken.slice(1)) expect(line).toMatch(/^ {6}\S/)
  expect(broken.map((line) => line.slice(6)).join(text.includes(' ') ? ' ' : '')).toBe(text)
})
