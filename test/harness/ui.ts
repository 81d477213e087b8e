import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { UI_KEY_HEADER, UI_PATHS } from '../../src/ui-paths.ts'
import type { Instance } from './instance.ts'
import { CLI } from './programs.ts'

/** A `metabind ui` that runs. */
export interface RunningUi {
  readonly child: ChildProcess
  readonly url: string
  readonly port: number
  /** What stands behind `#` in its link. */
  readonly token: string
  readonly origin: string
  /** The exit code, and what it said on standard error. */
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>
  stop(): Promise<void>
}

/**
 * Starts `metabind ui` against an instance, or whatever listens on its admin socket.
 *
 * @param command what is run as `metabind`; the sources, when left out
 */
export async function startUi(
  { adminSocket }: Pick<Instance, 'adminSocket'>,
  args: readonly string[] = [],
  command: readonly string[] = [process.execPath, CLI],
): Promise<RunningUi> {
  const env = { ...process.env, METABIND_ADMIN_SOCKET: adminSocket }
  const [file = '', ...before] = command
  const child = spawn(file, [...before, 'ui', '--json', ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const stderr = text(child.stderr)
  const ended = once(child, 'close').then(async ([code]) => ({ code, stderr: await stderr }))
  const first = once(createInterface(child.stdout), 'line')
  const line = await Promise.race([first, ended])
  if (!Array.isArray(line)) throw new Error(`metabind ui ended: ${JSON.stringify(line)}`)
  const { url }: { url: string } = JSON.parse(line[0])
  const { origin, port, hash } = new URL(url)
  const stop = async () => {
    child.kill('SIGINT')
    await ended
  }
  return { child, url, port: Number(port), token: hash.slice(1), origin, ended, stop }
}

/** What is sent besides; by itself a request looks as the page's own do. */
export interface UiRequest {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: unknown
}

/** Sends a request to it. The caller reads the answer. */
export async function openUi(
  { port, origin }: Pick<RunningUi, 'port' | 'origin'>,
  path: string,
  { method = 'GET', headers = {}, body }: UiRequest = {},
): Promise<IncomingMessage> {
  const own = method === 'GET' ? {} : { origin, 'content-type': 'application/json' }
  const sent = request({
    ...{ host: '127.0.0.1', port, method, path, agent: false },
    headers: { 'sec-fetch-site': 'same-origin', ...own, ...headers },
  })
  sent.end(body === undefined ? undefined : JSON.stringify(body))
  const [answer] = await once(sent, 'response')
  return answer
}

/** Sends a request to it and reads the answer. */
export async function askUi(
  ui: Pick<RunningUi, 'port' | 'origin'>,
  path: string,
  asked: UiRequest = {},
): Promise<{ status: number; headers: IncomingMessage['headers']; body: string }> {
  const answer = await openUi(ui, path, asked)
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await text(answer) }
}

/** Opens the link. @returns the headers that each further request needs */
export async function openLink(ui: RunningUi): Promise<Record<string, string>> {
  const { status, headers, body } = await askUi(ui, UI_PATHS.session, {
    method: 'POST',
    body: { token: ui.token },
  })
  if (status !== 200) throw new Error(`${status} ${body}`)
  const [cookie = ''] = (headers['set-cookie']?.[0] ?? '').split(';')
  return { cookie, [UI_KEY_HEADER]: body }
}
