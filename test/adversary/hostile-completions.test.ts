/**
 * A user says to be the agent on a socket that root's shell asks for what can be completed, and lists metadata whose
 * names are commands, options, patterns and escape sequences. Root presses Tab.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { bashCompletion, fishCompletion } from '../../packaging/completions.ts'
import { readCommand } from '../../packaging/help-text.ts'
import { whileServed } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'
import { startFalseAgent } from '../harness/false-agent.ts'
import { runProgram } from '../harness/packaged-command.ts'

const NAMES = [
  '$(touch hit)',
  '`touch hit`',
  'a;touch hit',
  'a b',
  "a'b",
  '\x1b[2J',
  '-rf~',
  '*',
  '<(touch hit)',
  '"$(touch hit)"',
  'good',
]
// As readline has them for `metabind get ` and Tab; zsh and fish say themselves what they would offer.
const BASH = `source "$1"; COMP_LINE='metabind get ' COMP_POINT=13 COMP_WORDS=(metabind get '') COMP_CWORD=2
_metabind; printf '%s\\n' "\${COMPREPLY[@]}"; for one in "\${COMPREPLY[@]}"; do eval ": $one"; done`
const FISH = `source $argv[1]; complete -C 'metabind get '`

test('no shell offers a name that does anything, and none is run', async () => {
  const { library } = { library: inject('library') }
  const place = await placeOf()
  const socket = join(place, 's')
  const agent = await startFalseAgent(socket)
  await agent.answer({ token: 'x'.repeat(86), 'meta-data': NAMES.join('\n'), '': NAMES.join('\n') })
  const command = readCommand(join(library, 'bin/node'), join(library, 'metabind.cjs'))
  writeFileSync(join(place, 'bash'), bashCompletion(command))
  writeFileSync(join(place, 'fish'), fishCompletion(command))
  const env = {
    PATH: `${library}:${process.env.PATH}`,
    HOME: place,
    TERM: 'dumb',
    METABIND_SOCKET: socket,
    METABIND_ADMIN_SOCKET: socket,
  }
  await whileServed(inject('target').metadataSocket, async () => {
    const bash = await runProgram(['bash', '--norc', '-c', BASH, 'bash', join(place, 'bash')], {
      env,
      cwd: place,
    })
    const fish = await runProgram(['fish', '--no-config', '-c', FISH, join(place, 'fish')], {
      env,
      cwd: place,
    })
    for (const { stdout } of [bash, fish]) {
      const offered = stdout.split('\n').map((line) => line.split('\t', 1)[0])
      expect(offered).toContain('good')
      expect(offered.filter((one) => one !== undefined && !/^[\w./-]*$/.test(one))).toEqual([])
    }
  })
  expect(existsSync(join(place, 'hit'))).toBe(false)
})
