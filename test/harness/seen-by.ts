import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { endPeer, type PeerOptions, startPeer } from './peer.ts'

const CONNECTION = fileURLToPath(new URL('../../src/caller/connection.ts', import.meta.url))
const PROCESS = fileURLToPath(new URL('../../src/caller/process.ts', import.meta.url))

const WATCH = `import { createServer } from 'node:net'
import { chmodSync } from 'node:fs'
const { callerOf, identifyCaller, uidOf } = await import(${JSON.stringify(CONNECTION)})
const { seesExecutables } = await import(${JSON.stringify(PROCESS)})
const path = process.argv[1]
const server = createServer((socket) => {
  identifyCaller(socket, { namesExecutable: () => true })
  const seen = { uid: uidOf(socket), seesExecutables: seesExecutables() }
  try { seen.caller = callerOf(socket) } catch ({ code, detail }) { seen.refusal = { code, detail } }
  console.log(JSON.stringify(seen))
  server.close()
  socket.destroy()
})
server.listen(path, () => { chmodSync(path, 0o666); console.log('listening') })`
const CONNECT = `import socket,sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(1)`

/** A process in whose place a caller is looked at, as the agent would. */
export interface Watcher {
  /** A command that it is started through. */
  readonly through?: readonly string[]
  /** Directories of cgroups that it enters first. */
  readonly cgroups?: readonly string[]
  /** Of a user namespace of its own: lines of uid_map and gid_map (user_namespaces(7)). */
  readonly idMaps?: { readonly uid: string; readonly gid: string }
}

export interface Seen {
  /** For whom the connection is counted. */
  readonly uid?: number
  readonly seesExecutables: boolean
  readonly caller?: Readonly<Record<string, unknown>>
  readonly refusal?: { readonly code: string; readonly detail?: string }
}

/** Lets a process connect to a watcher, and tells what that makes of it. */
export async function seenBy(watcher: Watcher, peer: PeerOptions): Promise<Seen> {
  const directory = await mkdtemp('/tmp/seen-')
  await chmod(directory, 0o777)
  const path = join(directory, 's')
  const agent = startWatcher(watcher, path)
  const started: ChildProcess[] = [agent]
  try {
    const lines = createInterface(agent.stdout)[Symbol.asyncIterator]()
    const said = async () => (await lines.next()).value ?? ''
    if (watcher.idMaps !== undefined) {
      if ((await said()) !== 'waiting') throw new Error('no user namespace')
      writeFileSync(`/proc/${agent.pid}/uid_map`, watcher.idMaps.uid)
      writeFileSync(`/proc/${agent.pid}/gid_map`, watcher.idMaps.gid)
      agent.stdin.write('go\n')
    }
    if ((await said()) !== 'listening') throw new Error('nobody watches')
    started.push(startPeer(CONNECT, [path], peer))
    return JSON.parse(await said())
  } finally {
    for (const child of started) await endPeer(child)
    await rm(directory, { recursive: true })
  }
}

function startWatcher({ through = [], cgroups = [], idMaps }: Watcher, path: string) {
  const inNamespace = ['unshare', '--user', 'sh', '-c', 'echo waiting; read _; exec "$@"', 'sh']
  const enter = cgroups.map((cgroup) => `echo $$ > ${cgroup}/cgroup.procs && `).join('')
  const command = [
    ...['-c', `${enter}exec "$@"`, 'sh', ...(idMaps === undefined ? [] : inNamespace), ...through],
    ...[process.execPath, '--input-type=module', '-e', WATCH, path],
  ]
  return spawn('/bin/sh', command, { stdio: ['pipe', 'pipe', 'inherit'] })
}
