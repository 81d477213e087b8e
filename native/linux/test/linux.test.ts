import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import {
  bootTimeMs,
  LinuxError,
  monotonicUsec,
  notify,
  openPidfd,
  peerCredentials,
  peerGroups,
  peerGroupsUpTo,
  peerPidfd,
  processAlive,
  socketFd,
} from '../src/linux.ts'

const run = promisify(execFile)
const LINUX = fileURLToPath(new URL('../src/linux.ts', import.meta.url))
const isRoot = process.getuid?.() === 0
const NOBODY = 65_534

let dir: string

beforeEach(async () => {
  dir = await mkdtemp('/tmp/linux-')
  await chmod(dir, 0o755)
})

afterEach(() => rm(dir, { recursive: true, force: true }))

/** Runs a module that has the functions of linux.ts as `linux`, in a process of its own. */
async function inChild(script: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const code = `const linux = await import(${JSON.stringify(LINUX)}); ${script}`
  const options = { env: { ...process.env, ...env }, timeout: 10_000 }
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code], options)
  return stdout.trim()
}

describe('clock', () => {
  test('bootTimeMs is the uptime of the kernel', () => {
    // In hundredths of a second.
    const uptimeMs = () => Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000
    const [before, now, after] = [uptimeMs(), bootTimeMs(), uptimeMs()]
    expect(now).toBeGreaterThan(before - 20)
    expect(now).toBeLessThan(after + 20)
  })

  test('bootTimeMs never goes back', () => {
    const calls = 100_000
    let [last, backwards] = [0, 0]
    for (let call = 0; call < calls; call++) {
      const now = bootTimeMs()
      if (now < last) backwards += 1
      last = now
    }
    expect(backwards).toBe(0)
  })

  test('monotonicUsec is CLOCK_MONOTONIC', async () => {
    const python = 'import time; print(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)'
    const before = monotonicUsec()
    const { stdout } = await run('python3', ['-c', python])
    expect(BigInt(stdout.trim())).toBeGreaterThan(before)
    expect(BigInt(stdout.trim())).toBeLessThan(monotonicUsec())
  })
})

describe('peer', () => {
  let server: Server
  let path: string

  beforeEach(async () => {
    path = join(dir, 's')
    server = createServer().listen(path)
    await once(server, 'listening')
    await chmod(path, 0o666)
  })

  afterEach(async () => {
    server.close()
    await once(server, 'close')
  })

  /** A process that connects and stays, under another uid if the tests run as root. */
  async function connectedChild() {
    const script = `require('net').connect(${JSON.stringify(path)}).resume()`
    const identity = isRoot ? { uid: NOBODY, gid: NOBODY } : {}
    const child = spawn(process.execPath, ['-e', script], { ...identity, cwd: '/' })
    const [socket]: Socket[] = await once(server, 'connection')
    if (socket === undefined) throw new Error('no connection')
    const end = async () => {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    return { pid: child.pid, socket, end }
  }

  test('peerCredentials are pid, uid and gid of the process that connected', async () => {
    const { pid, socket, end } = await connectedChild()
    const uid = isRoot ? NOBODY : process.getuid?.()
    const gid = isRoot ? NOBODY : process.getgid?.()
    expect(peerCredentials(socketFd(socket))).toEqual({ pid, uid, gid })
    socket.destroy()
    await end()
  })

  test('peerPidfd belongs to the process that connected', async () => {
    const { pid, socket, end } = await connectedChild()
    const pidfd = peerPidfd(socketFd(socket))
    if (pidfd !== undefined) {
      expect(readFileSync(`/proc/self/fdinfo/${pidfd}`, 'utf8')).toContain(`Pid:\t${pid}\n`)
      closeSync(pidfd)
    }
    socket.destroy()
    await end()
  })

  test.skipIf(!isRoot).each([
    ['none', []],
    ['a few', [7, 1001, 4_000_000_000]],
    ['many', Array.from({ length: 300 }, (_, at) => 10_000 + at)],
  ])('peerGroups are the supplementary groups at connect: %s', async (_what, groups) => {
    const path = join(dir, 's')
    const script = `import os,socket,sys
os.setgroups([int(gid) for gid in sys.argv[2:]])
os.setuid(${NOBODY})
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)`
    const child = spawn('python3', ['-c', script, path, ...groups.map(String)])
    const [socket]: Socket[] = await once(server, 'connection')
    if (socket === undefined) throw new Error('no connection')
    expect([...peerGroups(socketFd(socket))].sort()).toEqual([...groups].sort())
    for (const spare of [0, 1]) {
      const upTo = peerGroupsUpTo(socketFd(socket), groups.length + spare)
      expect(upTo).toEqual(peerGroups(socketFd(socket)))
    }
    if (groups.length > 0) {
      expect(peerGroupsUpTo(socketFd(socket), groups.length - 1)).toBeUndefined()
    }
    socket.end('x')
    await once(child, 'exit')
  })

  test('processAlive until the process ends', async () => {
    const { socket, end } = await connectedChild()
    const pidfd = peerPidfd(socketFd(socket))
    if (pidfd === undefined) return
    expect(processAlive(pidfd)).toBe(true)
    await end()
    expect(processAlive(pidfd)).toBe(false)
    closeSync(pidfd)
    expect(() => processAlive(pidfd)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => processAlive(-1)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    socket.destroy()
  })

  test('openPidfd belongs to the process that has the pid', async () => {
    const { pid = 0, socket, end } = await connectedChild()
    const pidfd = openPidfd(pid)
    if (pidfd !== undefined) {
      expect(readFileSync(`/proc/self/fdinfo/${pidfd}`, 'utf8')).toContain(`Pid:\t${pid}\n`)
      expect(processAlive(pidfd)).toBe(true)
    }
    await end()
    if (pidfd !== undefined) {
      expect(processAlive(pidfd)).toBe(false)
      closeSync(pidfd)
    }
    if (pidfd !== undefined) {
      expect(() => openPidfd(pid)).toThrow(expect.objectContaining({ code: 'ESRCH' }))
    }
    socket.destroy()
  })

  test('a closed socket has no descriptor', async () => {
    const { socket, end } = await connectedChild()
    socket.destroy()
    expect(() => socketFd(socket)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    await end()
  })

  test.each([peerCredentials, peerGroups, peerPidfd])('%o of no socket is a LinuxError', (ask) => {
    const file = openSync('/dev/null', 'r')
    expect(() => ask(file)).toThrow(expect.objectContaining({ code: 'ENOTSOCK' }))
    closeSync(file)
    expect(() => ask(1_000_000)).toThrow(LinuxError)
    expect(() => ask(1_000_000)).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })
})

describe('process', () => {
  test('setNotDumpable', async () => {
    const script = 'const before = linux.isDumpable(); linux.setNotDumpable();'
    expect(await inChild(`${script} console.log(before, linux.isDumpable())`)).toBe('true false')
  })

  test('disableCoreDumps', async () => {
    const script = "linux.disableCoreDumps(); const { readFileSync } = await import('node:fs');"
    const limits = await inChild(`${script} console.log(readFileSync('/proc/self/limits', 'utf8'))`)
    expect(limits).toMatch(/^Max core file size +0 +0 /m)
  })

  test('exitAtOnce ends a process with a stuck native call', async () => {
    const koffi = import.meta.resolve('koffi')
    const script = `const koffi = (await import(${JSON.stringify(koffi)})).default
      koffi.load('libc.so.6').func('uint32_t sleep(uint32_t)').async(60, () => {})
      setTimeout(() => linux.exitAtOnce(7), 50)`
    await expect(inChild(script)).rejects.toMatchObject({ code: 7 })
  })
})

describe('notify', () => {
  const RECEIVE = `import os,socket,sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace('@', '\\0', 1))
print('bound', flush=True)
sys.stdout.write(s.recv(100).decode())`

  test.each([
    ['a path', () => join(dir, 'notify')],
    ['an abstract name', () => `@tpm2-js-${process.pid}`],
  ])('sends one datagram to %s', async (_what, address) => {
    const name = address()
    const receiver = spawn('python3', ['-c', RECEIVE, name], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const received: Buffer[] = []
    receiver.stdout.on('data', (chunk: Buffer) => received.push(chunk))
    await once(receiver.stdout, 'data')
    const ended = once(receiver, 'close')
    const script = "console.log(linux.notify('READY=1\\nSTATUS=ok'))"
    expect(await inChild(script, { NOTIFY_SOCKET: name })).toBe('true')
    await ended
    expect(Buffer.concat(received).toString()).toBe('bound\nREADY=1\nSTATUS=ok')
  })

  test('is EAGAIN, and waits for nobody, where the manager does not read', async () => {
    const name = join(dir, 'deaf')
    const bind = `import socket,sys,time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
time.sleep(60)`
    const deaf = spawn('python3', ['-c', bind, name], { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void deaf.kill())
    await once(deaf.stdout, 'data')
    const script = `try { for (;;) linux.notify('STATUS=ok') } catch (error) { console.log(error.code) }`
    expect(await inChild(script, { NOTIFY_SOCKET: name })).toBe('EAGAIN')
  })

  test('is false where nobody asked', () => {
    expect(notify('READY=1')).toBe(false)
  })

  test.each([
    ['ENOENT', '/tmp/no-such-directory/notify'],
    ['EAFNOSUPPORT', 'vsock:2:1234'],
    ['ENAMETOOLONG', `/${'x'.repeat(108)}`],
  ])('is %s for %s', async (code, address) => {
    const script = "try { linux.notify('READY=1') } catch (error) { console.log(error.code) }"
    expect(await inChild(script, { NOTIFY_SOCKET: address })).toBe(code)
  })
})
