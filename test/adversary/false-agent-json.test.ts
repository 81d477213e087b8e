/**
 * A user listens on a socket that root is led to, says to be the agent, and answers with JSON that is nested hundreds of
 * thousands deep, is cut off, or never ends.
 */
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { whileServed } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'
import { startFalseAgent } from '../harness/false-agent.ts'
import { runMetabind } from '../harness/packaged-command.ts'

const NESTED = ['[', '{"a":'].flatMap((open) => [open.repeat(800_000), `${open}1`])
const VERBS = [['status'], ['observe', '--json'], ['doctor']]

test('each command of root ends with a sentence', async () => {
  const socket = join(await placeOf(), 's')
  const agent = await startFalseAgent(socket)
  const sockets = { metadataSocket: socket, adminSocket: socket }
  await whileServed(inject('target').metadataSocket, async () => {
    for (const body of [...NESTED, { endless: '{"a":1,' }]) {
      await agent.answer(body)
      for (const args of VERBS) {
        const { code, stdout, stderr } = await runMetabind(sockets, args)
        expect([args, code]).toEqual([args, 1])
        expect(stdout + stderr).toMatch(/^[^\n]*SOCKET_BROKEN|"agent-away"|agent-away|no-token/)
      }
    }
  })
})
