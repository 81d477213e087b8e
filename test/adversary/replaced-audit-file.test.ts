/**
 * A user finds the folder of the audit file open to all. The user moves the file away, and puts in its place a link to
 * a file that only the agent may write, a pipe, a folder, or a file of its own; and waits for the agent to write there.
 */
import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { APP, attack, whileServed } from '../harness/attack.ts'
import { auditedAgent, recordsIn } from '../harness/audited.ts'
import { AGENT_UID } from '../harness/packaged.ts'
import { runMetabind } from '../harness/packaged-command.ts'
import { tokenAs } from '../harness/unix-http.ts'

const PLANT = `import os,sys
how, file, moved, victim = sys.argv[1:]
os.rename(file, moved)
if how == 'link': os.symlink(victim, file)
if how == 'pipe': os.mkfifo(file, 0o666)
if how == 'folder': os.mkdir(file)
if how == 'own': open(file, 'w').close(); os.chmod(file, 0o666)
print('planted')`
const REMOVE = `import os,sys
os.rmdir(sys.argv[1]) if os.path.isdir(sys.argv[1]) else os.unlink(sys.argv[1])`

test('it writes nothing there, and everything once the place is free', async (context) => {
  const { instance, file } = await auditedAgent(context)
  const { metadataSocket, agent, stateDirectory } = instance
  chmodSync(dirname(file), 0o777)
  const victim = join(stateDirectory, 'victim')
  writeFileSync(victim, 'untouched')
  chownSync(victim, AGENT_UID, AGENT_UID)
  const moved: string[] = []
  await whileServed(metadataSocket, async () => {
    for (const how of ['link', 'pipe', 'folder', 'own']) {
      const away = `${file}.${how}`
      const faults = () =>
        agent.records.filter(({ code }) => /^DIRECTORY_/.test(String(code))).length
      const before = faults()
      expect(await attack(PLANT, [how, file, away, victim])).toBe('planted\n')
      moved.push(away)
      await tokenAs({ uid: APP }, metadataSocket)
      await expect.poll(faults).toBeGreaterThan(before)
      if (how === 'own') expect(readFileSync(file, 'utf8')).toBe('')
      await attack(REMOVE, [file])
      await expect.poll(() => recordsOf(file).length).toBeGreaterThan(0)
    }
  })
  expect(readFileSync(victim, 'utf8')).toBe('untouched')
  await agent.stop()
  const ran = await runMetabind(instance, ['audit', 'verify', ...moved, file])
  expect(ran).toMatchObject({ code: 0, stdout: expect.stringMatching(/^whole/) })
})

function recordsOf(file: string) {
  try {
    return recordsIn(file)
  } catch {
    return []
  }
}
