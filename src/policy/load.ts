import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { MetabindError, nodeErrorCode, pathWithReason } from '../errors.ts'
import { readAtMost } from '../storage/read-at-most.ts'
import { lookUpAccounts } from './accounts.ts'
import { POLICY_BYTES_MAX, type PolicyDeps, parsePolicy } from './parse.ts'
import type { Policy } from './policy.ts'

/** Where the policy is looked for when the configuration names none. */
export const POLICY_FILE = '/etc/metabind/policy.toml'

/** A policy and where it is from, for status and logs. */
export interface LoadedPolicy {
  readonly policy: Policy
  readonly from: string
  /** The same text again, with its users and groups looked up again. */
  readonly lookUpAgain: () => Promise<LoadedPolicy>
}

/**
 * Loads the policy of a file; without one, that of POLICY_FILE, or if that is not there either,
 * the built-in one: no rules, so that what is secret is for root and the rest for everybody.
 *
 * @param file as configured: a file that was asked for and is not there is an error
 * @throws MetabindError POLICY_UNREADABLE, POLICY_UNSAFE, POLICY_INVALID, POLICY_BLIND
 */
export async function loadPolicy(
  file: string | undefined,
  deps: Omit<PolicyDeps, 'lookUp'>,
): Promise<LoadedPolicy> {
  const all = { ...deps, lookUp: lookUpAccounts }
  const text = await readPolicyFile(file ?? POLICY_FILE)
  if (text !== undefined) {
    return parseLoaded(text, file ?? POLICY_FILE, all)
  }
  if (file !== undefined) throw new MetabindError('POLICY_UNREADABLE', `${file} is not there.`)
  return parseLoaded('', 'built in', all)
}

async function parseLoaded(text: string, from: string, deps: PolicyDeps): Promise<LoadedPolicy> {
  const policy = await parsePolicy(text, from, deps)
  return { policy, from, lookUpAgain: () => parseLoaded(text, from, deps) }
}

async function readPolicyFile(file: string): Promise<string | undefined> {
  let handle: FileHandle
  try {
    // A pipe is refused below, and not waited for.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (nodeErrorCode(error) === 'ENOENT') return undefined
    throw new MetabindError('POLICY_UNREADABLE', pathWithReason(file, error), error)
  }
  try {
    await requireSafe(handle, file)
    const bytes = readAtMost(handle.fd, POLICY_BYTES_MAX + 1)
    if (bytes.length <= POLICY_BYTES_MAX) return bytes.toString('utf8')
    throw new MetabindError('POLICY_INVALID', `${file}: too long`)
  } finally {
    await handle.close()
  }
}

/** Whoever can change the policy has every permission in it. */
async function requireSafe(handle: FileHandle, file: string): Promise<void> {
  const stat = await handle.stat()
  if (stat.isDirectory())
    throw new MetabindError('POLICY_UNREADABLE', `${file}: it is a directory.`)
  const ours = stat.uid === 0 || stat.uid === process.geteuid?.()
  if (!stat.isFile() || !ours || (stat.mode & 0o022) !== 0) {
    throw new MetabindError('POLICY_UNSAFE', file)
  }
}
