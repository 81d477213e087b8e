import { spawnSync } from 'node:child_process'
import { MetabindError, nodeErrorCode } from '../errors.ts'
import { LOCKDOWN_TABLE, type LockdownState, readLockdown } from './rules.ts'

/** The firewall, asked and changed through nft(8) of the distribution. */

const NFT = 'nft'
// At its first use the kernel loads modules: an emulated machine with much to do took over ten seconds.
const TIMEOUT_MS = 60_000
// root's PATH under cron and sudo often lacks the sbin directories.
const PATH = '/usr/sbin:/sbin:/usr/bin:/bin'

/**
 * Applies rules in one transaction: all of them or none. They are an argument, as nft reads them from no
 * file here: nft 0.9.8 opens /dev/stdin anew for `-f -`, which the kernel refuses if it is a socket, as
 * Node makes it; and a file of our own would have to be one that nobody else can write.
 *
 * @throws MetabindError FIREWALL_FAILED
 */
export function applyRules(rules: string): void {
  run([rules])
}

/** What of lockdown is in force; undefined if there is no table. @throws MetabindError FIREWALL_FAILED */
export function lockdownState(): LockdownState | undefined {
  const tables = run(['list', 'tables', 'ip']).split('\n')
  if (!tables.includes(`table ${LOCKDOWN_TABLE}`)) return undefined
  return readLockdown(run(['-j', 'list', 'table', ...LOCKDOWN_TABLE.split(' ')]))
}

function run(args: readonly string[]): string {
  const options = { timeout: TIMEOUT_MS, env: { PATH }, encoding: 'utf8' } as const
  const { error, status, stdout, stderr } = spawnSync(NFT, args, options)
  if (error !== undefined) {
    const isLate = nodeErrorCode(error) === 'ETIMEDOUT'
    const why = isLate ? 'nft did not end in time.' : 'nft did not run.'
    throw new MetabindError('FIREWALL_FAILED', why, error)
  }
  if (status === 0) return stdout
  const why = stderr.split('\n', 1)[0] ?? ''
  throw new MetabindError('FIREWALL_FAILED', `nft: ${why}`)
}
