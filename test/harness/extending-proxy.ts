import { once } from 'node:events'
import { createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Swtpm } from '../../native/tpm2-js/test/swtpm.ts'

const CC_PCR_EXTEND = 0x182
const CC_QUOTE = 0x158

/** Somebody who extends a PCR of the real TPM just before it makes a quote, as often as told. */
export interface ExtendingProxy extends AsyncDisposable {
  readonly tcti: string
  extendBeforeQuotes(pcr: number, times: number): void
  /** How many quotes passed. */
  readonly quotes: () => number
}

export async function startExtendingProxy(swtpm: Swtpm): Promise<ExtendingProxy> {
  const path = join(swtpm.dir, 'x')
  let left = 0
  let pcr = 0
  let quotes = 0
  const pass = async (command: Buffer, tpm: Socket): Promise<Buffer> => {
    const isQuote = command.length >= 10 && command.readUInt32BE(6) === CC_QUOTE
    if (isQuote) quotes += 1
    if (isQuote && left > 0) {
      left -= 1
      const answer = await exchange(tpm, pcrExtend(pcr))
      if (answer.readUInt32BE(6) !== 0) throw new Error(`PCR_Extend: ${answer.toString('hex')}`)
    }
    return exchange(tpm, command)
  }
  const data = createServer((client) => void serve(client, swtpm.socketPath, pass))
  const control = createServer((client) => void serve(client, `${swtpm.socketPath}.ctrl`, ask))
  data.listen(path)
  control.listen(`${path}.ctrl`)
  await Promise.all([once(data, 'listening'), once(control, 'listening')])
  return {
    tcti: `swtpm:path=${path}`,
    extendBeforeQuotes: (which, times) => {
      pcr = which
      left = times
    },
    quotes: () => quotes,
    [Symbol.asyncDispose]: async () => {
      data.close()
      control.close()
      await Promise.all([once(data, 'close'), once(control, 'close')])
    },
  }
}

type Pass = (command: Buffer, tpm: Socket) => Promise<Buffer>
const ask: Pass = (command, tpm) => exchange(tpm, command)

/** One command, one response, in turn: neither side sends before it has the other's. */
async function serve(client: Socket, to: string, pass: Pass): Promise<void> {
  const tpm = createConnection(to)
  for (const socket of [client, tpm]) socket.on('error', () => undefined)
  client.on('close', () => tpm.destroy())
  tpm.on('close', () => client.destroy())
  for await (const command of client) client.write(await pass(command, tpm))
}

async function exchange(tpm: Socket, command: Buffer): Promise<Buffer> {
  tpm.write(command)
  const [answer] = await once(tpm, 'data')
  return answer
}

/** TPM2_PCR_Extend of the SHA-256 bank with an empty password (Part 3, 22.2). */
function pcrExtend(pcr: number): Buffer {
  const handle = Buffer.alloc(4)
  handle.writeUInt32BE(pcr)
  const password = Buffer.from('00000009 40000009 0000 01 0000'.replaceAll(' ', ''), 'hex')
  const digests = Buffer.concat([Buffer.from('00000001000b', 'hex'), Buffer.alloc(32, 0x5a)])
  const body = Buffer.concat([handle, password, digests])
  const header = Buffer.alloc(10)
  header.writeUInt16BE(0x8002, 0)
  header.writeUInt32BE(header.length + body.length, 2)
  header.writeUInt32BE(CC_PCR_EXTEND, 6)
  return Buffer.concat([header, body])
}
