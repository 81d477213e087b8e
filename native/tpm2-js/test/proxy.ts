import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Swtpm } from './swtpm.ts'

/** Somebody between the library and the TPM: sees every byte and may change the answers. */
export interface TpmProxy {
  readonly tcti: string
  /** Everything that passed, in either direction. */
  readonly captured: () => Buffer
  /** What becomes of each response of the TPM from now on. */
  tamper(change: (response: Buffer) => Buffer): void
  /** Keeps back the commands that `isHeld` picks, as a late TPM does; those held before and not picked now pass. */
  hold(isHeld: (command: Buffer) => boolean): void
  readonly heldCount: () => number
  /** Forgets what passed, stops tampering and lets go of what is kept back. */
  reset(): void
  close(): Promise<void>
}

export async function startProxy(swtpm: Swtpm): Promise<TpmProxy> {
  const path = join(swtpm.dir, 'p')
  let seen: Buffer[] = []
  let change = (response: Buffer) => response
  let isHeld = (_command: Buffer) => false
  let held: { readonly command: Buffer; readonly pass: () => void }[] = []
  const hold = (next: typeof isHeld) => {
    isHeld = next
    const before = held
    held = before.filter(({ command }) => isHeld(command))
    for (const { command, pass } of before) if (!isHeld(command)) pass()
  }
  const data = await relay(path, swtpm.socketPath, (chunk, isResponse, pass) => {
    const passed = isResponse ? change(chunk) : chunk
    seen.push(passed)
    if (!isResponse && isHeld(chunk)) held.push({ command: chunk, pass: () => pass(passed) })
    else pass(passed)
  })
  const control = await relay(`${path}.ctrl`, `${swtpm.socketPath}.ctrl`, (chunk, _, pass) =>
    pass(chunk),
  )
  return {
    tcti: `swtpm:path=${path}`,
    captured: () => Buffer.concat(seen),
    tamper: (next) => {
      change = next
    },
    hold,
    heldCount: () => held.length,
    reset: () => {
      seen = []
      change = (response) => response
      hold(() => false)
    },
    close: async () => {
      await Promise.all([data, control].map((server) => closed(server)))
    },
  }
}

type Pass = (chunk: Buffer, isResponse: boolean, pass: (chunk: Buffer) => void) => void

async function relay(from: string, to: string, pass: Pass): Promise<Server> {
  await rm(from, { force: true })
  const server = createServer((client) => {
    let tpm: Socket | undefined
    // Not before a command passes: swtpm serves one connection at a time.
    const connected = (): Socket => {
      tpm ??= createConnection(to)
        .on('data', (chunk: Buffer) => pass(chunk, true, (passed) => client.write(passed)))
        .on('close', () => client.destroy())
        // A TPM that dies resets both sides; the library under test reports that, not the proxy.
        .on('error', () => undefined)
      return tpm
    }
    client
      .on('data', (chunk: Buffer) => pass(chunk, false, (passed) => connected().write(passed)))
      .on('close', () => tpm?.destroy())
      .on('error', () => undefined)
  })
  server.listen(from)
  await once(server, 'listening')
  return server
}

async function closed(server: Server): Promise<void> {
  server.close()
  await once(server, 'close')
}
