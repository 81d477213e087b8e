import { causeChain, MetabindError } from '../errors.ts'

export function gone(): MetabindError {
  return new MetabindError('CALLER_UNKNOWN', 'its process is gone')
}

/**
 * Whatever failed, the caller is not known. The record of each refusal has the detail: what was not possible,
 * and of an error of the system also which call on which file it refused.
 */
export function unknownBecause(what: string, error: unknown): MetabindError {
  return error instanceof MetabindError && error.code === 'CALLER_UNKNOWN'
    ? error
    : new MetabindError('CALLER_UNKNOWN', `${what}: ${causeChain(error)}`)
}
