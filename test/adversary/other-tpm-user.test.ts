/**
 * A local user who may use the TPM device has it make the agent's own keys, as all of them come from known templates, and
 * derives token keys from them: without the salt, which it tries to read, and with salts that it guesses.
 */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { APP, ATTACKER, attack, CREDENTIALS_PATH, whileServed } from '../harness/attack.ts'
import { forgeToken } from '../harness/forged-token.ts'
import { readAs } from '../harness/unix-http.ts'

const OPEN = `import sys
try: print(open(sys.argv[1], 'rb').read())
except OSError as error: print(error.strerror)`

test('the TPM alone makes no token', async () => {
  const { metadataSocket, runtimeDirectory, tcti, instanceId } = inject('target')
  const salt = join(runtimeDirectory, 'salt')
  // Also as a member of the group that may use the TPM.
  for (const gid of [ATTACKER, 0]) {
    expect(await attack(OPEN, [salt], { uid: ATTACKER, gid })).toBe('Permission denied\n')
  }
  const statusWith = async (guess: Buffer) => {
    const { token } = await forgeToken(tcti, instanceId, guess, APP)
    return (await readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH, token)).status
  }
  await whileServed(metadataSocket, async () => {
    for (const guess of [Buffer.alloc(32), Buffer.alloc(0), randomBytes(32)]) {
      expect(await statusWith(guess)).toBe(401)
    }
  })
  // All but the salt was right.
  expect(await statusWith(await readFile(salt))).toBe(200)
})
