import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createConnection, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import type { Swtpm } from './swtpm.ts'

/** Somebody between the library and the TPM: sees every byte and may change the answers. */
export interface TpmProxy {
  readonly tcti: string
  /** Everything that passed, in either direction. */
  readonly captured: () => Buffer
  /** What becomes of each response of the TPM from now on. */
  tamper(change: (response: Buffer) => Buffer): void
  /** Forgets what passed and stops tampering. */
  reset(): void
  close(): Promise<void>
}

export async function startProxy(swtpm: Swtpm): Promise<TpmProxy> {
  const path = join(swtpm.dir, 'p')
  let seen: Buffer[] = []
  let change = (response: Buffer) => response
  const data = await relay(path, swtpm.socketPath, (chunk, isResponse) => {
    const passed = isResponse ? change(chunk) : chunk
    seen.push(passed)
    return passed
  })
  const control = await relay(`${path}.ctrl`, `${swtpm.socketPath}.ctrl`, (chunk) => chunk)
  return {
    tcti: `swtpm:path=${path}`,
    captured: () => Buffer.concat(seen),
    tamper: (next) => {
      change = next
    },
    reset: () => {
      seen = []
      change = (response) => response
    },
    close: async () => {
      await Promise.all([data, control].map((server) => closed(server)))
    },
  }
}

type Pass = (chunk: Buffer, isResponse: boolean) => Buffer

async function relay(from: string, to: string, pass: Pass): Promise<Server> {
  await rm(from, { force: true })
  const server = createServer((client) => {
    const tpm = createConnection(to)
    // A TPM that dies resets both sides; the library under test reports that, not the proxy.
    for (const socket of [client, tpm]) socket.on('error', () => undefined)
    client.on('data', (chunk: Buffer) => tpm.write(pass(chunk, false)))
    tpm.on('data', (chunk: Buffer) => client.write(pass(chunk, true)))
    client.on('close', () => tpm.destroy())
    tpm.on('close', () => client.destroy())
  })
  server.listen(from)
  await once(server, 'listening')
  return server
}

async function closed(server: Server): Promise<void> {
  server.close()
  await once(server, 'close')
}
