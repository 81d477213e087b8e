import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Guarded } from '../harness/guarded.ts'
import { endPeer } from '../harness/peer.ts'
import { type Host, hostOf, readReleaseFile } from '../harness/release.ts'

/** systemd's own metadata service, as its units start it: under a user of its own, by socket activation. */

const RELEASE = 'forky'
const DAEMON = '/usr/lib/systemd/systemd-imdsd'
const CLIENT = '/usr/lib/systemd/systemd-imds'
const SOCKET = '/run/systemd/io.systemd.InstanceMetadata'
const CAPABILITIES = '+net_admin,+net_bind_service'

export interface Imdsd {
  readonly host: Host
  readonly runDirectory: string
  /** Where it keeps what it was told, and its tokens. */
  readonly directory: string
  /** Its command line client, as root. */
  ask(...args: string[]): Promise<string>
  stop(): Promise<void>
}

/** @param uid whom it runs as, instead of `systemd-imds` */
export async function startImdsd(guarded: Guarded, uid: number): Promise<Imdsd> {
  const runDirectory = join(guarded.directory, `run-${uid}`)
  const directory = join(runDirectory, 'systemd/imds')
  const host = await hostOf(RELEASE, guarded.networks, runDirectory)
  await mkdir(directory, { recursive: true })
  // The network interface that it found at its first request; else it asks on all of them at once.
  await writeFile(join(directory, 'ifname'), 'h0')
  for (const path of [join(runDirectory, 'systemd'), directory]) await chown(path, uid, uid)
  const variables = { RUNTIME_DIRECTORY: '/run/systemd/imds', ...(await endpoint()) }
  const [file = '', ...args] = [
    ...host.prefix(),
    ...['setpriv', '--pdeathsig=KILL', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'],
    ...[`--inh-caps=${CAPABILITIES}`, `--ambient-caps=${CAPABILITIES}`],
    ...['systemd-socket-activate', '--accept', '--fdname=varlink', `--listen=${SOCKET}`],
    ...Object.entries(variables).map((pair) => `--setenv=${pair.join('=')}`),
    DAEMON,
  ]
  const child = spawn(file, args, { stdio: 'ignore' })
  while (child.exitCode === null && !existsSync(join(runDirectory, SOCKET.slice('/run/'.length)))) {
    await sleep(20)
  }
  return {
    host,
    runDirectory,
    directory,
    ask: (...args) => host.run([CLIENT, ...args]),
    stop: () => endPeer(child),
  }
}

/** Makes the network configuration that it asks systemd-networkd for at boot. @returns the .network file */
export async function imdsdNetwork(imdsd: Imdsd, kernelCommandLine: string): Promise<string> {
  const env = { SYSTEMD_PROC_CMDLINE: kernelCommandLine, ...(await endpoint()) }
  await imdsd.host.run([DAEMON, '--setup-network'], env)
  return readFile(join(imdsd.runDirectory, 'systemd/network/85-imds-early.network'), 'utf8')
}

/** What systemd's hardware database says of instances of Alibaba Cloud, as variables of the daemon. */
async function endpoint(): Promise<Record<string, string>> {
  const database = await readReleaseFile(RELEASE, 'usr/lib/udev/hwdb.d/40-imds.hwdb')
  const [, block = ''] = database.split('\ndmi:*:svnAlibabaCloud:*\n')
  const [properties = ''] = block.split('\n\n')
  const pairs = properties
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/=(.*)/s))
  return Object.fromEntries(pairs.map(([name, value = '']) => [`SYSTEMD_${name}`, value]))
}
