import { spawnSync } from 'node:child_process'
import { MetabindError } from '../errors.ts'
import { CONTAINERS_MARK } from '../format/nftables.ts'

/**
 * The routing that has this host take marked packets to the metadata service for its own, by ip(8) of
 * the distribution. Without the firewall's mark it means nothing to anybody, so it may stay when the
 * rules roll back.
 */

// Of our own: no name in rt_tables(5), above those that people count up from, below the reserved ones.
const TABLE = '7764'
const SELECTOR = ['pref', '7764', 'fwmark', CONTAINERS_MARK, 'lookup', TABLE]
const TIMEOUT_MS = 10_000
// As in nft.ts.
const PATH = '/usr/sbin:/sbin:/usr/bin:/bin'

/** @throws MetabindError FIREWALL_FAILED */
export function takeMarked(address: string): void {
  must('route', 'replace', 'local', `${address}/32`, 'dev', 'lo', 'table', TABLE)
  // Not before it is gone: the kernel knows no replacing of rules.
  leave()
  must('rule', 'add', ...SELECTOR)
}

/** Nothing is left of it, whether it was there or not, and whether there is an ip(8) or not. */
export function leaveMarked(): void {
  leave()
  ip('route', 'flush', 'table', TABLE)
}

function leave(): void {
  ip('rule', 'del', ...SELECTOR)
}

function must(...args: string[]): void {
  const { error, status, stderr } = ip(...args)
  if (error !== undefined) {
    throw new MetabindError('FIREWALL_FAILED', 'ip (iproute2) did not run.', error)
  }
  if (status !== 0) throw new MetabindError('FIREWALL_FAILED', `ip: ${stderr.split('\n', 1)[0]}`)
}

function ip(...args: string[]) {
  const options = { timeout: TIMEOUT_MS, env: { PATH }, encoding: 'utf8' } as const
  return spawnSync('ip', ['-4', ...args], options)
}
