/**
 * Somebody between agent and TPM answers well-formed nonsense while the agent starts: another PCR than asked for, for ever;
 * lists that claim four thousand million members; parameters cut short, with a header that says so; noise.
 */
import { randomBytes } from 'node:crypto'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { COMMANDS } from '../../native/tpm2-js/test/faulting-proxy.ts'
import { startProxy } from '../../native/tpm2-js/test/proxy.ts'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import {
  APP,
  anew,
  CREDENTIALS_PATH,
  ownAgent,
  whileServed,
  whyItWaits,
} from '../harness/attack.ts'
import { readAs } from '../harness/unix-http.ts'

type Nonsense = readonly [command: keyof typeof COMMANDS, alter: (answer: Buffer) => Buffer]

const HEADER = 10
const NONSENSE: readonly Nonsense[] = [
  // Behind the counter and the number of banks: bank, size of the selection, selection.
  ['PCR_Read', (answer) => changed(answer, (at) => at.fill(0x80, HEADER + 11, HEADER + 14))],
  ['PCR_Read', (answer) => changed(answer, (at) => at.writeUInt32BE(0xffff_ffff, HEADER + 4))],
  ['GetCapability', (answer) => changed(answer, (at) => at.writeUInt32BE(0xffff_ffff, HEADER + 5))],
  ['CreatePrimary', (answer) => cut(answer, answer.length - 20)],
  ['CreatePrimary', (answer) => changed(answer, (at) => randomBytes(at.length - 18).copy(at, 18))],
  ['Quote', (answer) => changed(answer, (at) => at.fill(0xff, 16, 40))],
  ['HMAC', (answer) => cut(answer, 14)],
]

const changed = (answer: Buffer, change: (copy: Buffer) => void): Buffer => {
  const copy = Buffer.from(answer)
  // A refusal has nothing to alter.
  if (copy.length > HEADER) change(copy)
  return copy
}
const cut = (answer: Buffer, length: number): Buffer => {
  if (answer.length <= HEADER) return answer
  const copy = Buffer.from(answer.subarray(0, length))
  copy.writeUInt32BE(length, 2)
  return copy
}

test('nonsense is refused, and does no harm once it ends', async (context) => {
  const tpm = await startSwtpm()
  onTestFinished(() => tpm.stop())
  const bus = await startProxy(tpm)
  onTestFinished(() => bus.close())
  await chmod(tpm.dir, 0o755)
  for (const name of ['p', 'p.ctrl']) await chmod(join(tpm.dir, name), 0o770)
  const packaged = await ownAgent(context, { config: `tpm.tcti = "${bus.tcti}"\n` })
  for (const [command, alter] of NONSENSE) {
    let last = 0
    bus.hold((sent) => {
      last = sent.length < HEADER ? 0 : sent.readUInt32BE(6)
      return false
    })
    bus.tamper((answer) => (last === COMMANDS[command] ? alter(answer) : answer))
    const agent = await anew(packaged)
    expect(await whyItWaits(agent), command).toMatch(/^(TPM|VERIFY)_/)
    expect(agent.records.some(({ msg }) => msg === 'ready')).toBe(false)
    expect(agent.child.exitCode).toBe(null)
    await agent.stop()
    bus.reset()
  }
  await anew(packaged).then((agent) => agent.ready())
  const { metadataSocket } = packaged.instance
  const read = await whileServed(metadataSocket, () =>
    readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH),
  )
  expect(read.status).toBe(200)
})
