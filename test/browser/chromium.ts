import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'

/**
 * Debian's Chromium without a screen, by the DevTools protocol over Node's own WebSocket: what these tests need of it
 * is less than a package that drives browsers would bring along.
 */
export interface Chromium extends AsyncDisposable {
  /** @param beside shares its cookies; else it has a profile of its own */
  open(beside?: Tab): Promise<Tab>
}

export interface Tab {
  /** Its profile. */
  readonly context: string
  /** One command of the DevTools protocol. */
  send(method: string, params?: object): Promise<Record<string, unknown>>
  goto(url: string): Promise<void>
  /** The value of an expression in the page; promises are waited for. */
  value<T>(expression: string): Promise<T>
  /** Waits until an expression in the page is true. */
  until(expression: string): Promise<void>
  /** Presses and releases a key: Tab, Enter, or a character. */
  press(key: string, shift?: boolean): Promise<void>
  size(width: number, height: number, scale?: number): Promise<void>
  prefer(scheme: 'light' | 'dark'): Promise<void>
  /** PNG, of all of the page. */
  picture(): Promise<Buffer>
  /** Every address that was asked for. */
  readonly requests: readonly string[]
  /** What the browser complained of: violations of the policy, errors of the page. */
  readonly complaints: readonly string[]
}

const NAMES = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium']
// In a sandbox of its own it would not start as root. These tests open no page but their own.
const ARGUMENTS = ['--headless', '--no-sandbox', '--remote-debugging-port=0', '--disable-gpu']
const KEYS: Readonly<Record<string, number>> = { Tab: 9, Enter: 13, ' ': 32 }
const LOOK_MS = 100
const LOOKS_MAX = 600

/** @param more arguments of its command line */
export async function startChromium(...more: readonly string[]): Promise<Chromium> {
  const program = NAMES.find((name) => existsSync(name))
  if (program === undefined) throw new Error('no Chromium here; ./dev test-ui installs it')
  const profile = await mkdtemp('/tmp/chromium-')
  const quiet = ['--no-first-run', '--disable-background-networking', '--disable-dev-shm-usage']
  const child = spawn(program, [...ARGUMENTS, ...quiet, `--user-data-dir=${profile}`, ...more], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // Debian's command is a script that waits for the program: both are ended as one group.
    detached: true,
  })
  const kill = () => endGroup(child)
  process.once('exit', kill)
  const connection = await connect(await addressIn(child.stderr))
  return {
    open: (beside) => openTab(connection, beside?.context),
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit')
      kill()
      process.removeListener('exit', kill)
      await ended
      await rm(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

function endGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it has ended.
  }
}

async function addressIn(stderr: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface(stderr)) {
    const [, address] = /^DevTools listening on (ws:\S+)/.exec(line) ?? []
    if (address === undefined) continue
    stderr.resume()
    return address
  }
  throw new Error('Chromium has ended')
}

interface Message {
  readonly id?: number
  readonly sessionId?: string
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly result?: Record<string, unknown>
  readonly error?: { readonly message: string }
}

interface Connection {
  send(method: string, params: object, sessionId?: string): Promise<Record<string, unknown>>
  onEvent(sessionId: string, take: (method: string, params: Record<string, unknown>) => void): void
}

async function connect(address: string): Promise<Connection> {
  const socket = new WebSocket(address)
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = () => reject(new Error(`no connection to ${address}`))
  })
  const waiting = new Map<number, (message: Message) => void>()
  const takers = new Map<string, (method: string, params: Record<string, unknown>) => void>()
  socket.onmessage = ({ data }) => {
    const message: Message = JSON.parse(String(data))
    if (message.id !== undefined) waiting.get(message.id)?.(message)
    else takers.get(message.sessionId ?? '')?.(message.method ?? '', message.params ?? {})
  }
  let sent = 0
  return {
    send: (method, params, sessionId) =>
      new Promise((resolve, reject) => {
        const id = ++sent
        waiting.set(id, ({ result = {}, error }) => {
          waiting.delete(id)
          if (error === undefined) resolve(result)
          else reject(new Error(`${method}: ${error.message}`))
        })
        socket.send(JSON.stringify({ id, method, params, sessionId }))
      }),
    onEvent: (sessionId, take) => void takers.set(sessionId, take),
  }
}

async function openTab(connection: Connection, profile: string | undefined): Promise<Tab> {
  const browserContextId =
    profile ?? (await connection.send('Target.createBrowserContext', {})).browserContextId
  const made = { url: 'about:blank', browserContextId }
  const { targetId } = await connection.send('Target.createTarget', made)
  const attached = await connection.send('Target.attachToTarget', { targetId, flatten: true })
  const sessionId = String(attached.sessionId)
  const send: Tab['send'] = (method, params = {}) => connection.send(method, params, sessionId)
  const seen = { requests: [] as string[], complaints: [] as string[] }
  connection.onEvent(sessionId, (method, params) => note(seen, method, params))
  for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await send(`${domain}.enable`)
  const value = async <T>(expression: string): Promise<T> => {
    const asked = { expression, awaitPromise: true, returnByValue: true }
    const answer = (await send('Runtime.evaluate', asked)) as {
      readonly result: { readonly value: T }
      readonly exceptionDetails?: unknown
    }
    if (answer.exceptionDetails !== undefined) {
      throw new Error(`${expression}: ${JSON.stringify(answer.exceptionDetails)}`)
    }
    return answer.result.value
  }
  return {
    context: String(browserContextId),
    send,
    value,
    ...seen,
    goto: async (url) => void (await send('Page.navigate', { url })),
    until: async (expression) => {
      for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
        if (await value<boolean>(`Boolean(${expression})`)) return
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
      }
      throw new Error(`never true: ${expression}\n${await value('document.body.innerText')}`)
    },
    press: async (key, shift = false) => {
      const code = KEYS[key] ?? key.toUpperCase().charCodeAt(0)
      const pressed = { key, windowsVirtualKeyCode: code, modifiers: shift ? 8 : 0 }
      const text = key === 'Enter' ? '\r' : key.length === 1 ? key : undefined
      await send('Input.dispatchKeyEvent', { type: 'keyDown', ...pressed, text })
      await send('Input.dispatchKeyEvent', { type: 'keyUp', ...pressed })
    },
    size: async (width, height, scale = 1) => {
      const metrics = { width, height, deviceScaleFactor: scale, mobile: false }
      await send('Emulation.setDeviceMetricsOverride', metrics)
    },
    prefer: async (scheme) => {
      const features = [{ name: 'prefers-color-scheme', value: scheme }]
      await send('Emulation.setEmulatedMedia', { features })
    },
    picture: async () => {
      const { data } = await send('Page.captureScreenshot', { captureBeyondViewport: true })
      return Buffer.from(String(data), 'base64')
    },
  }
}

function note(
  seen: { readonly requests: string[]; readonly complaints: string[] },
  method: string,
  params: Record<string, unknown>,
): void {
  if (method === 'Network.requestWillBeSent') {
    seen.requests.push((params.request as { url: string }).url)
  } else if (method === 'Log.entryAdded') {
    const { level, text } = params.entry as { level: string; text: string }
    if (level === 'error' || level === 'warning') seen.complaints.push(text)
  } else if (method === 'Runtime.exceptionThrown') {
    const { exception } = params.exceptionDetails as { exception?: { description?: string } }
    seen.complaints.push(exception?.description?.slice(0, 300) ?? 'an exception')
  }
}
