import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { asUser, type Networks } from '../harness/networks.ts'

const SCRIPT = fileURLToPath(new URL('use-alicloud.cjs', import.meta.url))
const ANSWER_MS = 20_000

/** What the SDK got, or the message of its error. */
export interface Got {
  readonly accessKeyId?: string
  readonly accessKeySecret?: string
  readonly securityToken?: string
  readonly providerName?: string
  readonly error?: string
}

/** A running application of a user of the host, with the unmodified SDK. */
export interface Application {
  /** A new SDK client of this configuration asks for credentials; null is the default chain. */
  credentials(config: object | null): Promise<Got>
  end(): Promise<void>
}

/** @param through more commands before the application, such as `metabind exec` */
export function startApplication(
  networks: Networks,
  uid: number,
  env: Readonly<Record<string, string>>,
  through: readonly string[] = [],
): Application {
  const variables = Object.entries({ HOME: '/nonexistent', ...env }).map((pair) => pair.join('='))
  const [file = '', ...args] = [
    ...networks.hostPrefix,
    ...asUser(uid),
    ...['env', ...variables, ...through, process.execPath, SCRIPT],
  ]
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    credentials: async (config) => {
      child.stdin.write(`${JSON.stringify(config)}\n`)
      const timer = setTimeout(() => child.kill('SIGKILL'), ANSWER_MS)
      const { value } = await lines.next()
      clearTimeout(timer)
      return JSON.parse(value ?? '{"error":"the application ended"}')
    },
    end: () => end(child),
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
