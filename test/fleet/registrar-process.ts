import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { REGISTRAR } from '../harness/programs.ts'

/** A registrar as a process of its own, with its database in a directory. */
export interface RegistrarProcess {
  /** Where it listens. Its own name is `url`, wherever that is. */
  readonly origin: string
  readonly url: string
  readonly config: string
  readonly database: string
  readonly pid: number
  /** What it logged so far. */
  readonly records: readonly Readonly<Record<string, unknown>>[]
  /** Sends it SIGHUP. */
  hangUp(): void
  /** Resolves when it has logged a message, or has. */
  logged(message: string): Promise<Readonly<Record<string, unknown>>>
  /** Ends it, and waits until it has gone. */
  end(signal?: NodeJS.Signals): Promise<void>
}

const LOOK_EVERY_MS = 50
const LOOKS_MAX = 1200
const REGISTRAR_URL = 'https://registrar.example'

interface ProcessOptions {
  readonly env?: NodeJS.ProcessEnv
  /** Its own name. */
  readonly url?: string
  /** Where it listens; a free one when left out. */
  readonly port?: number
  /** In place of the sources. */
  readonly program?: string
  /** Where its database and master key are, if another one has them, too. */
  readonly storage?: string
}

/** @param more tables of the configuration, as TOML */
export async function startRegistrarProcess(
  directory: string,
  more: string,
  {
    env = {},
    program = REGISTRAR,
    url = REGISTRAR_URL,
    port = 0,
    storage = directory,
  }: ProcessOptions = {},
): Promise<RegistrarProcess> {
  await mkdir(directory, { recursive: true })
  const config = join(directory, 'registrar.toml')
  const database = join(storage, 'registrar.db')
  const tables = `url = "${url}"
[listen]
port = ${port}
[storage]
database = "${database}"
master_key = "${join(storage, 'master.key')}"
[limits]
${more.includes('request_burst') ? '' : 'request_burst = 10000\n'}`
  await writeFile(config, `${tables}${more}`)
  const child = spawn(process.execPath, [program, 'serve', '--config', config], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  const records: Record<string, unknown>[] = []
  const listening = await listeningPort(child, records)
  return {
    origin: `http://127.0.0.1:${listening}`,
    url,
    config,
    database,
    pid: child.pid ?? 0,
    records,
    hangUp: () => {
      child.kill('SIGHUP')
    },
    logged: async (message) => {
      for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
        const found = records.find(({ msg }) => msg === message)
        if (found !== undefined) return found
        await sleep(LOOK_EVERY_MS)
      }
      throw new Error(`it never said '${message}'`)
    },
    end: async (signal = 'SIGTERM') => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill(signal)
      await exited
    },
  }
}

async function listeningPort(
  child: ChildProcess,
  records: Record<string, unknown>[],
): Promise<number> {
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) throw new Error('no pipes')
  let said = ''
  stderr.on('data', (bytes) => {
    said += bytes
  })
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  child.once('exit', (code) => reject(new Error(`the registrar ended with ${code}: ${said}`)))
  createInterface(stdout).on('line', (line) => {
    const record = JSON.parse(line)
    records.push(record)
    if (record.msg === 'listening') resolve(record.port)
  })
  return promise
}

/** What a registrar trusts for instances of test/harness/instance.ts that were made `certified`. */
export async function trustOf(...instanceDirectories: readonly string[]): Promise<string> {
  const [first = ''] = instanceDirectories
  const anchors = join(first, 'fleet-anchors')
  await mkdir(anchors, { recursive: true })
  for (const [at, directory] of instanceDirectories.entries()) {
    for (const name of ['issuercert.pem', 'swtpm-localca-rootca-cert.pem']) {
      await writeFile(
        join(anchors, `${at}-${name}`),
        await readFile(join(directory, 'anchors', name)),
      )
    }
  }
  return `[trust]
ek_anchors = "${anchors}"
identity_certificate = "${join(first, 'cloud.pem')}"
`
}
