import { constants, openSync } from 'node:fs'
import { join } from 'node:path'
import { lockFile } from 'metabind-linux'
import { MetabindError } from '../errors.ts'

/** Of the agent alone: whoever could open it could keep every agent from starting. */
const NAME = 'agent.lock'

/**
 * Takes a directory for this process, until its end. Two agents on one directory would each write what the
 * other does not know of: another salt, other revocations, records between those of one chain.
 *
 * One that cannot be used is let be: whoever needs it says what is wrong with it.
 *
 * @throws MetabindError DIRECTORY_TAKEN if another agent has it
 */
export function lockDirectory(directory: string): void {
  const descriptor = openLock(join(directory, NAME))
  if (descriptor === undefined || lockFile(descriptor)) return
  throw new MetabindError('DIRECTORY_TAKEN', directory)
}

function openLock(path: string): number | undefined {
  try {
    return openSync(path, constants.O_CREAT | constants.O_RDWR | constants.O_NOFOLLOW, 0o600)
  } catch {
    return undefined
  }
}
