import { spawnSync } from 'node:child_process'
import { MetabindError } from '../errors.ts'
import { CONTAINERS_MARK } from './rules.ts'

/**
 * The routing that has this host take marked packets to the metadata service for its own, by ip(8) of
 * the distribution. Without the firewall's mark it means nothing to anybody, so it may stay when the
 * rules roll back.
 */

// Of our own: no name in rt_tables(5), above those that people count up from, below the reserved ones.
const TABLE = '7764'
// systemd-networkd removes what others have made, but nothing that is the kernel's (man networkd.conf,
// ManageForeignRoutingPolicyRules=).
const PROTOCOL = ['protocol', 'kernel']
// Before the rules by which networks of containers choose their ways (Terway has 512 to 2048).
const SELECTOR = ['pref', '1', 'fwmark', CONTAINERS_MARK, 'lookup', TABLE, ...PROTOCOL]
const TIMEOUT_MS = 10_000
// As in nft.ts.
const PATH = '/usr/sbin:/sbin:/usr/bin:/bin'

/** @throws MetabindError FIREWALL_FAILED */
export function takeMarked(address: string): void {
  must('route', 'replace', 'local', `${address}/32`, 'dev', 'lo', 'table', TABLE, ...PROTOCOL)
  must('rule', 'add', ...SELECTOR)
}

/** Nothing is left of it, whether it was there or not, and whether there is an ip(8) or not. */
export function leaveMarked(): void {
  ip('rule', 'del', ...SELECTOR)
  ip('route', 'flush', 'table', TABLE)
}

/** Whether the host takes marked packets for its own. */
export function takesMarked(): boolean {
  const { stdout } = ip('rule', 'show')
  if (!stdout?.includes(`fwmark ${CONTAINERS_MARK} lookup ${TABLE}`)) return false
  return ip('route', 'show', 'table', TABLE).stdout.startsWith('local ')
}

function must(...args: string[]): void {
  const { error, status, stderr } = ip(...args)
  if (error !== undefined) {
    throw new MetabindError('FIREWALL_FAILED', 'ip (iproute2) did not run.', error)
  }
  // As it was: adding what is there already is refused in these words.
  if (status !== 0 && !stderr.includes('File exists'))
    throw new MetabindError('FIREWALL_FAILED', `ip: ${stderr.split('\n', 1)[0]}`)
}

function ip(...args: string[]) {
  const options = { timeout: TIMEOUT_MS, env: { PATH }, encoding: 'utf8' } as const
  return spawnSync('ip', ['-4', ...args], options)
}
