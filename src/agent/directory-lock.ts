import { constants, openSync } from 'node:fs'
import { join } from 'node:path'
import { lockFile } from 'metabind-linux'
import { MetabindError, nodeErrorCode } from '../errors.ts'
import { removeUnnamed } from '../storage/private-file.ts'

/** Of the agent alone: whoever could open it could keep every agent from starting. */
const NAME = 'agent.lock'

/**
 * Takes a directory for this process, until its end. Two agents on one directory would each write what the
 * other does not know of: another salt, other revocations, records between those of one chain.
 *
 * What a killed agent had half written there is removed.
 *
 * One that is there and cannot be used is let be: whoever needs it says what is wrong with it.
 *
 * @throws MetabindError DIRECTORY_TAKEN if another agent has it, DIRECTORY_ABSENT
 */
export function lockDirectory(directory: string): void {
  const descriptor = openLock(directory)
  if (descriptor === undefined) return
  if (!lockFile(descriptor)) throw new MetabindError('DIRECTORY_TAKEN', directory)
  removeUnnamed(directory)
}

function openLock(directory: string): number | undefined {
  const { O_CREAT, O_RDWR, O_NOFOLLOW } = constants
  try {
    return openSync(join(directory, NAME), O_CREAT | O_RDWR | O_NOFOLLOW, 0o600)
  } catch (error) {
    // At once, and not when the TPM and the cloud have been asked: the state directory is needed after them.
    if (nodeErrorCode(error) === 'ENOENT') throw new MetabindError('DIRECTORY_ABSENT', directory)
    return undefined
  }
}
