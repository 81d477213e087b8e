/**
 * A user says to be the agent on a socket that root is led to, or gives a file a name, and puts into it what clears
 * root's terminal, sets its title, turns a line around and writes one that says that all is well.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { whileServed } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'
import { startFalseAgent } from '../harness/false-agent.ts'
import { packagedMetabind } from '../harness/packaged-command.ts'
import { onTerminal } from '../harness/pty.ts'

const BAIT = '\x1b[2J\x9b2J\x1b]0;x\x07\u202e\r\nstate     ready\u2028'
const LIVE = /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}]/u
const STATUS = {
  ...{ version: BAIT, state: BAIT, ready: false },
  problem: { code: BAIT, sentence: BAIT, remedy: BAIT },
  identity: { dialect: BAIT, instanceId: BAIT, iid: BAIT, ekName: BAIT, akName: '' },
  tpm: { tcti: BAIT, ek: BAIT },
  selfTest: { anchor: BAIT, proven: [BAIT], lacked: [BAIT] },
  source: { dialect: BAIT, endpoint: BAIT },
  policy: { mode: BAIT, from: BAIT, rules: 1 },
  sockets: { metadata: BAIT, admin: BAIT },
}

/** What a command of root's writes to its terminal. */
async function onScreen(args: readonly string[], socket: string): Promise<string> {
  const env = { METABIND_SOCKET: socket, METABIND_ADMIN_SOCKET: socket, LC_ALL: 'C.UTF-8' }
  const terminal = onTerminal([packagedMetabind(), ...args], env)
  await terminal.end()
  return terminal.text().replaceAll('\r\n', '\n')
}

test('root sees them as text, on the line where they belong', async () => {
  const place = await placeOf()
  const socket = join(place, 's')
  const agent = await startFalseAgent(socket)
  const file = join(place, BAIT.replace('/', ''))
  writeFileSync(file, `${BAIT} = 1\n`)
  await whileServed(inject('target').metadataSocket, async () => {
    await agent.answer({
      status: JSON.stringify(STATUS),
      observed: '[]',
      token: 'x'.repeat(86),
      x: BAIT,
    })
    for (const args of [
      ['status'],
      ['get', '/x'],
      ['doctor'],
      ['config', 'check', file],
      ['policy', 'check', file],
    ]) {
      const screen = await onScreen(args, socket)
      expect(screen).toContain('\\u{1b}[2J')
      expect(screen).not.toMatch(LIVE)
      // What `get` prints is of several lines by right.
      if (args[0] !== 'get') expect(screen).not.toMatch(/^state +ready/m)
    }
  })
})
