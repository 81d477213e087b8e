import { causeChain, MetabindError, nodeErrorCode } from '../errors.ts'

/** What the system says if the agent, or the machine, has no descriptor left. */
const NO_DESCRIPTOR = ['EMFILE', 'ENFILE']

export function gone(): MetabindError {
  return new MetabindError('CALLER_UNKNOWN', 'its process is gone')
}

/**
 * Whatever failed, the caller is not known. The record of each refusal has the detail: what was not possible,
 * and of an error of the system also which call on which file it refused. If that was for want of a descriptor
 * it says nothing of the caller, and passes: LIMIT_CONNECTIONS.
 */
export function unknownBecause(what: string, error: unknown): MetabindError {
  if (error instanceof MetabindError && error.code === 'CALLER_UNKNOWN') return error
  const code = lacksDescriptor(error) ? 'LIMIT_CONNECTIONS' : 'CALLER_UNKNOWN'
  return new MetabindError(code, `${what}: ${causeChain(error)}`)
}

/** Whether something failed for want of a descriptor: what was looked at may be there. */
export function lacksDescriptor(error: unknown): boolean {
  return NO_DESCRIPTOR.includes(nodeErrorCode(error) ?? '')
}

/** Whether a caller is not known only as there was no descriptor to look at it with. */
export function isUnseen(caller: unknown): boolean {
  return caller instanceof MetabindError && caller.code === 'LIMIT_CONNECTIONS'
}
