/**
 * A user guesses which file in /tmp a command of root's will write, and keeps a link to root's own file there: before
 * the command runs, and again and again while it runs.
 */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { accomplice, whileServed } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'
import { runMetabind } from '../harness/packaged-command.ts'

const PLANT = `import os,sys
while True:
  for target in sys.argv[2:]:
    try: os.symlink(target, sys.argv[1])
    except OSError: pass
    try: os.unlink(sys.argv[1])
    except OSError: pass`
const NONCE = '00'.repeat(16)

test("root's file is not written through it", async () => {
  const { metadataSocket, adminSocket } = inject('target')
  const home = await placeOf(0, 0o755)
  const victim = join(home, 'victim')
  writeFileSync(victim, 'untouched')
  // As /tmp is: everybody's, and nobody removes what is another's.
  const shared = await placeOf(0)
  chmodSync(shared, 0o1777)
  const bait = join(shared, 'out')
  accomplice(PLANT, [bait, victim, '/etc/passwd'])
  const passwd = readFileSync('/etc/passwd')
  await whileServed(metadataSocket, async () => {
    for (const args of [['token'], ['evidence', '--nonce', NONCE], ['token'], ['token']]) {
      const { code, stderr } = await runMetabind({ metadataSocket, adminSocket }, [
        ...args,
        '--out',
        bait,
      ])
      expect([0, 1]).toContain(code)
      if (code === 1) expect(stderr).toMatch(/FILE_UNUSABLE|FILE_NOT_WRITTEN/)
      expect(readFileSync(victim, 'utf8')).toBe('untouched')
      expect(readFileSync('/etc/passwd')).toEqual(passwd)
    }
  })
})
