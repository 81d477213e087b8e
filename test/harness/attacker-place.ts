import { chmod, chown, mkdtemp, rm } from 'node:fs/promises'
import { onTestFinished } from 'vitest'
import { ATTACKER } from './attack.ts'

/** A folder of a user's own, gone when the test ends. */
export async function placeOf(uid: number = ATTACKER, mode = 0o755): Promise<string> {
  const path = await mkdtemp('/tmp/mb-')
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  await chown(path, uid, uid)
  await chmod(path, mode)
  return path
}
