/**
 * A process that has come to run as the agent's own user attaches a debugger to the agent, opens its memory and reads its
 * maps; then it has the agent end by a signal that leaves a core file.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { attack, ownAgent, whileServed } from '../harness/attack.ts'
import { AGENT_UID } from '../harness/packaged.ts'

const DEBUG = `import ctypes,os,signal,sys
pid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
for request in (16, 0x4206):
  print('attached' if libc.ptrace(request, pid, 0, 0) == 0 else os.strerror(ctypes.get_errno()))
for name in ('mem', 'maps', 'environ', 'auxv', 'stack'):
  try: print(len(open('/proc/%d/%s' % (pid, name), 'rb').read(1)))
  except OSError as error: print(error.strerror)
local = ctypes.create_string_buffer(8)
vector = (ctypes.c_size_t * 2)(ctypes.addressof(local), 8)
print('read' if libc.process_vm_readv(pid, vector, 1, vector, 1, 0) > 0 else os.strerror(ctypes.get_errno()))`
const DENIED = /^(Operation not permitted|Permission denied)$/

test('the agent shows its memory to nobody, and leaves no core', async (context) => {
  const { instance } = await ownAgent(context)
  const { agent, metadataSocket } = instance
  const { pid = 0 } = agent.child
  const asAgent = { uid: AGENT_UID }
  const said = await whileServed(metadataSocket, () => attack(DEBUG, [String(pid)], asAgent))
  const results = said.trim().split('\n')
  expect(results).toHaveLength(8)
  for (const result of results) expect(result).toMatch(DENIED)

  const limits = execFileSync('cat', [`/proc/${pid}/limits`], { encoding: 'utf8' })
  expect(limits).toMatch(/^Max core file size +0 +0 /m)
  const exited = once(agent.child, 'exit')
  await attack('import os,sys\nos.kill(int(sys.argv[1]), 11)', [String(pid)], asAgent)
  expect(await exited).toEqual([null, 'SIGSEGV'])
  expect(readdirSync('.').filter((name) => /^core(\.|$)/.test(name))).toEqual([])
  await instance.restartAgent()
})
