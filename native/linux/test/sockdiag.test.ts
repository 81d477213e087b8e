import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readlinkSync, statSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  knowsTcpSockets,
  originalDestination,
  socketFd,
  type TcpEnds,
  tcpSocketOwner,
} from '../src/linux.ts'

const run = promisify(execFile)
const LINUX = fileURLToPath(new URL('../src/linux.ts', import.meta.url))
const isRoot = process.getuid?.() === 0
const NOBODY = 65_534

let server: Server
let port: number
let child: ChildProcess | undefined

beforeEach(async () => {
  server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})

afterEach(async () => {
  child?.kill('SIGKILL')
  child = undefined
  server.close()
})

/** The other end of an accepted connection, as its own process sees it. */
function otherEnd(socket: Socket): TcpEnds {
  return {
    localAddress: socket.remoteAddress ?? '',
    localPort: socket.remotePort ?? 0,
    remoteAddress: socket.localAddress ?? '',
    remotePort: socket.localPort ?? 0,
  }
}

/** A connection from a Python process, which does with `s` what `then` says. */
async function connectionOf(then: string, family = 'AF_INET', host = '127.0.0.1'): Promise<Socket> {
  const script = `import socket,time
s = socket.socket(socket.${family}, socket.SOCK_STREAM)
s.connect((${JSON.stringify(host)}, ${port}))
${then}
time.sleep(60)`
  const identity = isRoot ? { uid: NOBODY, gid: NOBODY } : {}
  child = spawn('/usr/bin/python3', ['-c', script], { ...identity, cwd: '/', stdio: 'inherit' })
  const [socket]: Socket[] = await once(server, 'connection')
  if (socket === undefined) throw new Error('no connection')
  socket.resume()
  return socket
}

test('the kernel says that it knows TCP sockets', () => {
  expect(knowsTcpSockets()).toBe(true)
})

describe('the owner of the other end of a connection', () => {
  test('is the user that made the socket, with its inode', async () => {
    const socket = await connectionOf('')
    const owner = tcpSocketOwner(otherEnd(socket))
    expect(owner?.uid).toBe(isRoot ? NOBODY : process.getuid?.())
    expect(readlinkSync(`/proc/${child?.pid}/fd/3`)).toBe(`socket:[${owner?.inode}]`)
    socket.destroy()
  })

  test('is found for an IPv6 socket that speaks IPv4', async () => {
    const socket = await connectionOf('', 'AF_INET6', '::ffff:127.0.0.1')
    expect(tcpSocketOwner(otherEnd(socket))?.uid).toBe(isRoot ? NOBODY : process.getuid?.())
    socket.destroy()
  })

  test('has the cgroup of the process where the kernel has version 2', async () => {
    const root = ['/sys/fs/cgroup/cgroup.procs', '/sys/fs/cgroup/unified/cgroup.procs'].find(
      (path) => statSync(path, { throwIfNoEntry: false }) !== undefined,
    )
    const socket = await connectionOf('')
    const owner = tcpSocketOwner(otherEnd(socket))
    const { stdout } = await run('sh', ['-c', `sed -n 's/^0:://p' /proc/${child?.pid}/cgroup`])
    const path = `${root?.replace('/cgroup.procs', '')}${stdout.trim()}`
    expect(owner?.cgroupId).toBe(root === undefined ? owner?.cgroupId : BigInt(statSync(path).ino))
    socket.destroy()
  })

  test('is nobody, and not root, once the socket is closed', async () => {
    const socket = await connectionOf('s.close()')
    await sleep(100)
    expect(tcpSocketOwner(otherEnd(socket))).toBeUndefined()
    socket.destroy()
  })

  test('is found after it was shut for writing: its owner waits for an answer', async () => {
    const socket = await connectionOf('s.shutdown(socket.SHUT_WR)')
    await once(socket, 'end')
    expect(tcpSocketOwner(otherEnd(socket))?.uid).toBe(isRoot ? NOBODY : process.getuid?.())
    socket.destroy()
  })

  test('is nobody, and not root, where nobody has accepted it yet', async () => {
    const script = `import socket,sys
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(1)
print(s.getsockname()[1], flush=True)
sys.stdin.read()`
    child = spawn('/usr/bin/python3', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] })
    const [printed] = await once(child.stdout ?? child, 'data')
    const client = connect(Number(printed), '127.0.0.1')
    await once(client, 'connect')
    const own = { localAddress: '127.0.0.1', localPort: client.localPort ?? 0 }
    const itsEnd = { remoteAddress: '127.0.0.1', remotePort: Number(printed) }
    expect(tcpSocketOwner({ ...own, ...itsEnd })?.uid).toBe(process.getuid?.())
    const others = { localAddress: '127.0.0.1', localPort: Number(printed) }
    const ownEnd = { remoteAddress: '127.0.0.1', remotePort: client.localPort ?? 0 }
    expect(tcpSocketOwner({ ...others, ...ownEnd })).toBeUndefined()
    client.destroy()
  })

  test('is not the listener on the same port where there is no connection', () => {
    const ends = { localAddress: '127.0.0.1', localPort: port }
    expect(tcpSocketOwner({ ...ends, remoteAddress: '127.0.0.1', remotePort: 1 })).toBeUndefined()
  })

  test('is not found by another remote address', async () => {
    const socket = await connectionOf('')
    const ends = otherEnd(socket)
    expect(tcpSocketOwner({ ...ends, remoteAddress: '100.100.100.200' })).toBeUndefined()
    expect(tcpSocketOwner({ ...ends, remotePort: 80 })).toBeUndefined()
    socket.destroy()
  })

  test('an address that is not IPv4 is refused', () => {
    const ends = { localAddress: '::1', localPort: 1, remoteAddress: '::1', remotePort: 1 }
    expect(() => tcpSocketOwner(ends)).toThrow(expect.objectContaining({ code: 'EAFNOSUPPORT' }))
  })

  test('many questions leave no descriptor behind', () => {
    const ends = { localAddress: '127.0.0.1', localPort: 1, remoteAddress: '127.0.0.1' }
    for (let port = 1; port < 2000; port++) tcpSocketOwner({ ...ends, remotePort: port })
    expect(openSync('/dev/null', 'r')).toBeLessThan(200)
  })
})

describe('the original destination', () => {
  test('of a connection that no rule touched is its own address, or unknown', async () => {
    const client = connect(port, '127.0.0.1')
    const [socket]: Socket[] = await once(server, 'connection')
    if (socket === undefined) throw new Error('no connection')
    expect([undefined, { address: '127.0.0.1', port }]).toContainEqual(
      originalDestination(socketFd(socket)),
    )
    client.destroy()
    socket.destroy()
  })

  test.skipIf(!isRoot)('of a redirected connection is where it was going', async () => {
    const script = `
      const { createServer, connect } = await import('node:net')
      const { execFileSync } = await import('node:child_process')
      const linux = await import(${JSON.stringify(LINUX)})
      const rule = 'table ip t {\\n chain c {\\n type nat hook output priority -100\\n ip daddr 192.0.2.7 tcp dport 80 redirect to :9\\n }\\n }\\n'
      execFileSync('sh', ['-c', 'ip link set lo up; ip route add default dev lo'])
      execFileSync('nft', ['-f', '-'], { input: rule })
      createServer((socket) => {
        console.log(JSON.stringify(linux.originalDestination(linux.socketFd(socket))))
        const ends = { localAddress: socket.remoteAddress, localPort: socket.remotePort }
        const owner = linux.tcpSocketOwner({ ...ends, remoteAddress: '192.0.2.7', remotePort: 80 })
        console.log(owner?.uid)
        process.exit(0)
      }).listen(9, '127.0.0.1', () => connect(80, '192.0.2.7'))`
    const command = ['-n', process.execPath, '--input-type=module', '-e', script]
    const { stdout } = await run('unshare', command, { timeout: 10_000 })
    expect(stdout).toBe('{"address":"192.0.2.7","port":80}\n0\n')
  })

  test('of no socket is a LinuxError', () => {
    expect(() => originalDestination(1_000_000)).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })
})
