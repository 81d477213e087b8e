/**
 * A user finds the agent's runtime directory open to all, as an administrator once left it. While no agent runs the user
 * puts a salt of its own there: a file, a link to one, a hard link, a pipe; and then waits for tokens made with it.
 */
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { anew, attack, ownAgent, whileServed } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'

const PLANT = `import os,sys
how, salt, own = sys.argv[1:]
open(own, 'wb').write(b'A' * 32)
os.chmod(own, 0o600 if how != 'open' else 0o666)
os.rename(salt, salt + '.away')
if how in ('own', 'open'): os.rename(own, salt)
if how == 'link': os.symlink(own, salt)
if how == 'hard link': os.link(own, salt)
if how == 'pipe': os.mkfifo(salt, 0o600)
if how == 'directory': os.mkdir(salt, 0o700)
print('planted')`
const RESTORE = `import os,shutil,sys
salt = sys.argv[1]
shutil.rmtree(salt) if os.path.isdir(salt) and not os.path.islink(salt) else os.unlink(salt)
os.rename(salt + '.away', salt)`

test('the agent does not start with it, and starts as before when it is gone', async (context) => {
  const packaged = await ownAgent(context)
  const { instance } = packaged
  const salt = join(instance.runtimeDirectory, 'salt')
  await chmod(instance.runtimeDirectory, 0o777)
  const own = join(await placeOf(), 'own')
  for (const how of ['own', 'open', 'link', 'hard link', 'pipe', 'directory']) {
    await instance.agent.stop()
    expect(await attack(PLANT, [how, salt, own])).toBe('planted\n')
    const agent = await anew(packaged)
    const { code } = await agent.until((record) => record.code !== undefined)
    expect([how, code]).toEqual([how, expect.stringMatching(/^DIRECTORY_(UNSAFE|FAULT)$/)])
    expect(agent.output()).not.toContain('"msg":"ready"')
    await agent.stop()
    await attack(RESTORE, [salt])
  }
  await instance.restartAgent()
  await whileServed(instance.metadataSocket, async () => undefined)
})
