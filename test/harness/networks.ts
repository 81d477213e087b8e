import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

/**
 * Networks of our own, as root: `host`, where the agent and its callers are; `cloud`, where the
 * metadata service has its address; `pod`, a container on a bridge of the host's. Nothing
 * in them reaches the network of the machine.
 */

const run = promisify(execFile)
const COMMAND_MS = 240_000

export interface Networks {
  /** Runs a command in the host's network; `uid` undefined: as root. */
  inHost(uid: number | undefined, ...command: string[]): Promise<string>
  inPod(...command: string[]): Promise<string>
  inCloud(...command: string[]): Promise<string>
  /** What to put before a command to have it in the host's, the cloud's or the pod's network. */
  readonly hostPrefix: readonly string[]
  readonly cloudPrefix: readonly string[]
  readonly podPrefix: readonly string[]
  stop(): Promise<void>
}

const HOST_SETUP = `
ip link set lo up
ip link add h0 type veth peer name c0 netns CLOUD
ip addr add 10.77.0.2/24 dev h0; ip link set h0 up
ip link add h1 type veth peer name p0 netns POD
ip link add b0 type bridge; ip link set h1 master b0; ip link set h1 up
ip addr add 10.78.0.1/24 dev b0; ip link set b0 up
ip route add SERVICE/32 via 10.77.0.1
echo 1 > /proc/sys/net/ipv4/ip_forward`
const CLOUD_SETUP = `
ip link set lo up
ip addr add 10.77.0.1/24 dev c0; ip link set c0 up
ip addr add SERVICE/32 dev lo
ip route add 10.78.0.0/24 via 10.77.0.2`
const POD_SETUP = `
ip link set lo up
ip addr add 10.78.0.2/24 dev p0; ip link set p0 up
ip route add default via 10.78.0.1`

/** @param service the IPv4 address of the metadata service */
export async function openNetworks(service: string): Promise<Networks> {
  const holders = await Promise.all([holdNamespace(), holdNamespace(), holdNamespace()])
  const [host = 0, cloud = 0, pod = 0] = holders.map(({ pid }) => pid)
  const enter = (pid: number) => ['nsenter', '-t', String(pid), '-n']
  const inside = (prefix: readonly string[], command: readonly string[]) => {
    const [file = '', ...args] = [...prefix, ...command]
    return run(file, args, { timeout: COMMAND_MS, maxBuffer: 1 << 24 }).then((r) => r.stdout)
  }
  const setup = (pid: number, script: string) => {
    const places = { CLOUD: String(cloud), POD: String(pod), SERVICE: service }
    const named = script.replace(
      /CLOUD|POD|SERVICE/g,
      (name) => places[name as keyof typeof places],
    )
    return inside(enter(pid), ['sh', '-ec', named])
  }
  await setup(host, HOST_SETUP)
  await setup(cloud, CLOUD_SETUP)
  await setup(pod, POD_SETUP)
  return {
    inHost: (uid, ...command) => inside(enter(host), [...asUser(uid), ...command]),
    inPod: (...command) => inside(enter(pod), command),
    inCloud: (...command) => inside(enter(cloud), command),
    hostPrefix: enter(host),
    cloudPrefix: enter(cloud),
    podPrefix: enter(pod),
    stop: async () => {
      await Promise.all(holders.map(end))
    },
  }
}

/** What to put before a command to run it as another user, with no other right. */
export function asUser(uid: number | undefined, gid = uid): string[] {
  if (uid === undefined) return []
  return ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups']
}

/** A process that keeps a network namespace open; it ends with this one. */
async function holdNamespace(): Promise<ChildProcess> {
  const command = ['--pdeathsig', 'KILL', 'unshare', '-n', 'sleep', 'infinity']
  const child = spawn('setpriv', command, { stdio: 'ignore' })
  await once(child, 'spawn')
  for (let tries = 0; tries < 500; tries++) {
    const { stdout } = await run('cat', [`/proc/${child.pid}/comm`])
    if (stdout.trim() === 'sleep') return child
    await sleep(10)
  }
  throw new Error('no network namespace')
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
