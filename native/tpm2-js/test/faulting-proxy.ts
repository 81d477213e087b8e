import { once } from 'node:events'
import { createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Swtpm } from './swtpm.ts'

/** TPM_CC of the commands that the agent sends (Part 2, 6.5.2). */
export const COMMANDS = {
  CreatePrimary: 0x131,
  ActivateCredential: 0x147,
  Certify: 0x148,
  NV_Read: 0x14e,
  PolicySecret: 0x151,
  HMAC: 0x155,
  Quote: 0x158,
  Sign: 0x15d,
  FlushContext: 0x165,
  NV_ReadPublic: 0x169,
  StartAuthSession: 0x176,
  GetCapability: 0x17a,
  PCR_Read: 0x17e,
  ReadClock: 0x181,
} as const
export type Command = keyof typeof COMMANDS

/**
 * How a command fails: a response code instead of carrying it out, or a connection that ends before
 * the TPM has heard it, or after, so that what it made stays behind without anybody knowing of it;
 * or an answer that never comes; or what happens as soon as it is answered.
 */
export type Fault = number | 'lost before' | 'lost after' | 'unanswered' | (() => Promise<void>)

/**
 * Whoever stands in between and does as they like with a command: what is returned is answered, and nothing ends
 * the connection. `ask` has the TPM carry out a command.
 */
export type Meddler = (
  command: Buffer,
  ask: (command: Buffer) => Promise<Buffer>,
) => Promise<Buffer | undefined>

/** Somebody between the agent and a real TPM, who lets commands fail. */
export interface FaultingProxy extends AsyncDisposable {
  readonly tcti: string
  /** From now on a command of this kind meets these faults, one after the other, then none. */
  fail(command: Command, faults: readonly Fault[]): void
  /** From now on it fails so until `heal`. */
  failForEver(command: Command, fault: Fault): void
  /** From now on every command goes through these hands, until `heal`. */
  meddle(meddler: Meddler): void
  heal(): void
  /** How many commands have failed since the last `heal`. */
  readonly failed: () => number
  /** Which commands have passed or failed so far, by their code. */
  readonly seen: ReadonlySet<number>
}

export async function startFaultingProxy(swtpm: Swtpm): Promise<FaultingProxy> {
  const path = join(swtpm.dir, 'f')
  const seen = new Set<number>()
  const failing = new Map<number, () => Fault | undefined>()
  let failed = 0
  let meddler: Meddler | undefined
  const faultOf = (command: Buffer): Fault | undefined => {
    const code = command.length < 10 ? 0 : command.readUInt32BE(6)
    seen.add(code)
    const fault = failing.get(code)?.()
    if (fault !== undefined) failed += 1
    return fault
  }
  const data = createServer(
    (client) => void serve(client, swtpm.socketPath, faultOf, () => meddler),
  )
  const control = createServer((client) => void serve(client, `${swtpm.socketPath}.ctrl`))
  data.listen(path)
  control.listen(`${path}.ctrl`)
  await Promise.all([once(data, 'listening'), once(control, 'listening')])
  return {
    tcti: `swtpm:path=${path}`,
    fail: (command, faults) => {
      const left = [...faults]
      failing.set(COMMANDS[command], () => left.shift())
    },
    failForEver: (command, fault) => void failing.set(COMMANDS[command], () => fault),
    meddle: (hands) => {
      meddler = hands
    },
    heal: () => {
      failing.clear()
      meddler = undefined
      failed = 0
    },
    failed: () => failed,
    seen,
    [Symbol.asyncDispose]: async () => {
      data.close()
      control.close()
      await Promise.all([once(data, 'close'), once(control, 'close')])
    },
  }
}

/** One command, one response, in turn. The TPM is asked for no command that does not reach it. */
async function serve(
  client: Socket,
  to: string,
  faultOf: (command: Buffer) => Fault | undefined = () => undefined,
  meddlerNow: () => Meddler | undefined = () => undefined,
): Promise<void> {
  let tpm: Socket | undefined
  client.on('error', () => undefined)
  client.on('close', () => tpm?.destroy())
  try {
    for await (const command of client) {
      const fault = faultOf(command)
      if (fault === 'lost before') return
      if (typeof fault === 'number') {
        client.write(refusal(fault))
        continue
      }
      tpm ??= connected(to, client)
      const there = tpm
      const ask = (asked: Buffer) => exchange(there, asked)
      const meddler = meddlerNow()
      const answer = await (meddler === undefined ? ask(command) : meddler(command, ask))
      if (answer === undefined) return
      if (fault === 'lost after') return
      if (fault !== 'unanswered') client.write(answer)
      if (typeof fault === 'function') await fault()
    }
  } catch {
    // The TPM is gone, or the client: the other side learns it by the end of its connection.
  } finally {
    client.destroy()
    tpm?.destroy()
  }
}

/** A connection to the TPM; if that ends, so does the client's. */
function connected(to: string, client: Socket): Socket {
  const tpm = createConnection(to)
  tpm.on('error', () => undefined)
  tpm.on('close', () => client.end())
  return tpm
}

/** @throws if the TPM ends the connection instead */
async function exchange(tpm: Socket, command: Buffer): Promise<Buffer> {
  const gone = new AbortController()
  tpm.once('close', () => gone.abort())
  if (tpm.destroyed) gone.abort()
  tpm.write(command)
  const [answer] = await once(tpm, 'data', { signal: gone.signal })
  return answer
}

/** A response without sessions: tag, size, response code (Part 1, 18.9). */
function refusal(rc: number): Buffer {
  const response = Buffer.alloc(10)
  response.writeUInt16BE(0x8001, 0)
  response.writeUInt32BE(response.length, 2)
  response.writeUInt32BE(rc, 6)
  return response
}
