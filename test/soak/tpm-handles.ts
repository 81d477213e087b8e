import { once } from 'node:events'
import { createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Swtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { turns } from './turns.ts'

// TPM 2.0 Part 2, 6.12, 6.13 and 7.4.
const CC_GET_CAPABILITY = 0x17a
const CAP_HANDLES = 1
const FIRST_HANDLES = {
  loadedSessions: 0x02000000,
  savedSessions: 0x03000000,
  transient: 0x80000000,
  persistent: 0x81000000,
} as const
const HANDLES_MAX = 64

/** How many of each kind the TPM holds. */
type TpmHandles = Readonly<Record<keyof typeof FIRST_HANDLES, number>>

/** A way to a TPM on which its handles can be counted while an agent has the one connection that it serves. */
export interface CountedTpm extends AsyncDisposable {
  readonly tcti: string
  /** Undefined if the TPM does not say. */
  handles(): Promise<TpmHandles | undefined>
  /** Commands that have passed. */
  readonly commands: () => number
}

/** tpm2-tss connects for each command, and swtpm serves one connection at a time. */
export async function startCountedTpm(swtpm: Swtpm): Promise<CountedTpm> {
  const path = join(swtpm.dir, 'c')
  let commands = 0
  const count = () => {
    commands += 1
  }
  const inTurn = turns()
  const data = createServer((client) => {
    client.on('error', () => undefined)
    void inTurn(() => pass(client, lineTo(swtpm.socketPath), count))
  })
  const control = createServer((client) => void pass(client, lineTo(`${swtpm.socketPath}.ctrl`)))
  for (const [server, at] of [
    [data, path],
    [control, `${path}.ctrl`],
  ] as const) {
    server.listen({ path: at, readableAll: true, writableAll: true })
    await once(server, 'listening')
  }
  return {
    tcti: `swtpm:path=${path}`,
    commands: () => commands,
    handles: () => inTurn(() => countHandles(lineTo(swtpm.socketPath))),
    [Symbol.asyncDispose]: async () => {
      data.close()
      control.close()
      await Promise.all([once(data, 'close'), once(control, 'close')])
    },
  }
}

/** A connection on which one command is answered before the next is sent. */
interface Line {
  ask(command: Buffer): Promise<Buffer>
  readonly socket: Socket
}

function lineTo(path: string): Line {
  const socket = createConnection(path)
  socket.on('error', () => undefined)
  const gone = new AbortController()
  socket.once('close', () => gone.abort())
  return {
    socket,
    ask: async (command) => {
      gone.signal.throwIfAborted()
      socket.write(command)
      const [answer] = await once(socket, 'data', { signal: gone.signal })
      return answer
    },
  }
}

/** What a client asks, one command and one response in turn. */
async function pass(client: Socket, line: Line, count: () => void = () => undefined) {
  client.on('error', () => undefined)
  client.on('close', () => line.socket.destroy())
  line.socket.on('close', () => client.destroy())
  try {
    for await (const command of client) {
      count()
      client.write(await line.ask(command))
    }
  } catch {
    // The TPM is gone, or the client: the other side learns it by the end of its connection.
  } finally {
    client.destroy()
    line.socket.destroy()
  }
}

async function countHandles(line: Line): Promise<TpmHandles | undefined> {
  try {
    const counts = []
    for (const [name, first] of Object.entries(FIRST_HANDLES)) {
      counts.push([name, handlesIn(await line.ask(getHandles(first)), first)] as const)
    }
    return Object.fromEntries(counts) as TpmHandles
  } catch {
    return undefined
  } finally {
    line.socket.destroy()
  }
}

/** TPM2_GetCapability (Part 3, 30.2). */
function getHandles(first: number): Buffer {
  const command = Buffer.alloc(22)
  command.writeUInt16BE(0x8001, 0)
  for (const [at, value] of [22, CC_GET_CAPABILITY, CAP_HANDLES, first, HANDLES_MAX].entries()) {
    command.writeUInt32BE(value, 2 + 4 * at)
  }
  return command
}

/** moreData, capability, TPML_HANDLE: those of the kind come first, others may follow. */
function handlesIn(answer: Buffer, first: number): number {
  if (answer.readUInt32BE(6) !== 0) throw new Error(`GetCapability: ${answer.toString('hex')}`)
  const count = answer.readUInt32BE(15)
  const handles = Array.from({ length: count }, (_, at) => answer.readUInt32BE(19 + 4 * at))
  return handles.filter((handle) => handle >>> 24 === first >>> 24).length
}
