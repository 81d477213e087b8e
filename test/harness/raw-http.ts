import { connect, type Socket } from 'node:net'

/**
 * A connection that sends exactly the bytes it is told to, for requests that an HTTP client would
 * refuse to send or would tidy up first.
 */
export interface RawConnection {
  write(bytes: string | Buffer): void
  /** Shuts down its writing side (shutdown(2), SHUT_WR), and goes on reading. */
  endWriting(): void
  /** The next answer; an error if the connection ends, or 5 s go by, before it is whole. */
  answer(): Promise<RawAnswer>
  /** Status lines that have come, whether of whole answers or not. */
  statusLines(): number
  /** Whether the other side ends the connection in that time. */
  closed(waitMs?: number): Promise<boolean>
  destroy(): void
}

export interface RawAnswer {
  readonly status: number
  /** Names in lower case; no answer of ours has one twice. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const WAIT_MS = 30_000
const HEAD_END = '\r\n\r\n'

export async function openRaw(socketPath: string): Promise<RawConnection> {
  const socket = connect(socketPath)
  let received = ''
  let everything = ''
  let ended = false
  const waiting = new Set<() => void>()
  const wake = () => {
    for (const look of waiting) look()
  }
  const end = () => {
    ended = true
    wake()
  }
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1')
    everything += chunk.toString('latin1')
    wake()
  })
  socket.on('end', end).on('close', end)
  // A refused peer may be reset while it still writes: that is an end like any other.
  socket.on('error', end)
  await connected(socket)
  /** Waits for `look` to find something. @returns undefined if that does not happen in time */
  const until = <T>(look: () => T | undefined, waitMs: number): Promise<T | undefined> =>
    new Promise((resolve) => {
      const finish = (found: T | undefined) => {
        clearTimeout(timer)
        waiting.delete(again)
        resolve(found)
      }
      const again = () => {
        const found = look()
        if (found !== undefined) finish(found)
      }
      const timer = setTimeout(() => finish(undefined), waitMs)
      waiting.add(again)
      again()
    })
  const take = (): RawAnswer | 'none' | undefined => {
    const parsed = parseAnswer(received, ended)
    if (parsed === undefined) return ended ? 'none' : undefined
    received = received.slice(parsed.length)
    return parsed.answer
  }
  return {
    write: (bytes) => void socket.write(bytes),
    endWriting: () => void socket.end(),
    answer: async () => {
      const answer = await until(take, WAIT_MS)
      if (answer !== undefined && answer !== 'none') return answer
      throw new Error(`no whole answer, but ${JSON.stringify(received)}`)
    },
    statusLines: () => everything.split('HTTP/1.1 ').length - 1,
    closed: async (waitMs = WAIT_MS) => (await until(() => ended || undefined, waitMs)) === true,
    destroy: () => void socket.destroy(),
  }
}

/** One request on a connection of its own. `closed`: the other side ended it within `closeMs`. */
export async function sendRaw(
  socketPath: string,
  bytes: string | Buffer,
  closeMs = WAIT_MS,
): Promise<RawAnswer & { readonly closed: boolean }> {
  const connection = await openRaw(socketPath)
  try {
    connection.write(bytes)
    const answer = await connection.answer()
    return { ...answer, closed: await connection.closed(closeMs) }
  } finally {
    connection.destroy()
  }
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
}

function parseAnswer(received: string, ended: boolean) {
  const headEnd = received.indexOf(HEAD_END)
  if (headEnd < 0) return undefined
  const [statusLine = '', ...lines] = received.slice(0, headEnd).split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )
  const bodyStart = headEnd + HEAD_END.length
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1])
  const stated = status === 100 ? '0' : headers['content-length']
  // Without a stated length an answer ends with its connection.
  if (stated === undefined && !ended) return undefined
  const length = stated === undefined ? received.length : bodyStart + Number(stated)
  if (received.length < length) return undefined
  return { answer: { status, headers, body: received.slice(bodyStart, length) }, length }
}
