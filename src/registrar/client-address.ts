import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { type Rate, ratePerUid } from '../rate-limit.ts'

/**
 * Where a request comes from: the other end of the connection; if that is a proxy of ours, the last of
 * X-Forwarded-For that is none. What stands before it anybody can have written.
 */
export function clientAddress(
  {
    socket,
    headers,
  }: Pick<IncomingMessage, 'headers'> & {
    readonly socket: { readonly remoteAddress?: string | undefined }
  },
  trustedProxies: ReadonlySet<string>,
): string {
  const peer = peerAddress(socket)
  if (!trustedProxies.has(peer)) return peer
  const hops = [headers['x-forwarded-for'] ?? []].flat().join(',').split(',')
  const last = hops.map((hop) => plain(hop.trim())).findLast((hop) => !trustedProxies.has(hop))
  // Of no form that we know: the proxy is to blame, and its own address counts.
  return last !== undefined && isIP(last) !== 0 ? last : peer
}

/** The other end of a connection; empty if it has gone. */
export function peerAddress(socket: { readonly remoteAddress?: string | undefined }): string {
  return plain(socket.remoteAddress ?? '')
}

/** An IPv4 address that came on an IPv6 socket is the same address. */
function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '')
}

/** Whoever has an address of IPv6 has a /64 of them, and is one. */
export function sharedNetwork(address: string): string {
  const groups = groupsOf(address)
  return groups === undefined ? address : networkOf(groups.slice(0, 4), 64)
}

/** What one customer is given: of IPv6 a /56 as a rule, which is 256 of those networks (RFC 6177). */
export function siteOf(address: string): string {
  const groups = groupsOf(address)
  if (groups === undefined) return address
  return networkOf([...groups.slice(0, 3), (groups[3] ?? 0) & 0xff00], 56)
}

/** @returns the eight numbers of an IPv6 address; undefined of another */
function groupsOf(address: string): number[] | undefined {
  if (isIP(address) !== 6) return undefined
  const [head = '', tail] = address.toLowerCase().split('%', 1).join('').split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array(Math.max(0, 8 - before.length - after.length)).fill('0')
  const groups = [...before, ...(tail === undefined ? [] : zeros), ...after]
  return groups.map((group) => Number.parseInt(group, 16))
}

function networkOf(groups: readonly number[], bits: number): string {
  return `${groups.map((group) => group.toString(16)).join(':')}::/${bits}`
}

/** @returns 0 if an address may ask once more now, else in how many seconds */
export type TakeOfAddress = (address: string) => number

/** Networks that have a bucket at once: some seven megabytes. A fleet of as many instances may come at once. */
const NETWORKS_MAX = 65_536

/** A bucket for each address, of a bounded number of them. @param clockMs a clock that never jumps */
export function ratePerAddress(rate: Rate, clockMs: () => number): TakeOfAddress {
  const buckets = ratePerUid(rate, clockMs, NETWORKS_MAX)
  const salt = randomBytes(16)
  return (address) => buckets.take(numberOf(sharedNetwork(address), salt))
}

/** Buckets go by number; with the salt nobody can choose another's. 0 would be root's. */
function numberOf(network: string, salt: Buffer): number {
  return 1 + createHash('sha256').update(salt).update(network).digest().readUIntBE(0, 6)
}
