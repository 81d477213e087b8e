import { MetabindError } from '../errors.ts'
import type { GeneralName } from './general-names.ts'

/** Whether a name is in a subtree of names (RFC 5280 4.2.1.10), for the forms that are understood. */

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/
// One reading only: neither blanks nor backslashes, no brackets of IPv6, at most one user.
const URI_HOST =
  /^[a-z][a-z0-9+.-]*:\/\/(?:[^\s/?#@\\]*@)?([^\s/?#@:\\[\]]+)(?::[0-9]*)?(?:[/?#]|$)/i
const LAST_LABEL_IS_NUMBER = /(?:^|\.)[0-9]+$/

/**
 * @param name and `base` of one form
 * @param isExcluded whether `base` is what must not be named; names are then told apart less strictly
 * @throws MetabindError VERIFY_CERTIFICATE_EXTENSION if name, base or their form is not understood
 */
export function isInSubtree(name: GeneralName, base: GeneralName, isExcluded: boolean): boolean {
  if (name.form === 'directoryName' && base.form === 'directoryName') {
    return isExcluded
      ? isBeginning(base.looseRdns, name.looseRdns)
      : isBeginning(base.rdns, name.rdns)
  }
  if (name.form === 'iPAddress' && base.form === 'iPAddress') {
    return isInNetwork(name.bytes, base.bytes)
  }
  if ('text' in name && 'text' in base) {
    if (name.form === 'dNSName') return isInDomain(name.text, base.text)
    if (name.form === 'rfc822Name') return isInMailboxes(name.text, base.text)
    return isInHosts(name.text, base.text)
  }
  return notUnderstood(name.form)
}

function isBeginning(base: readonly string[], name: readonly string[]): boolean {
  return base.every((rdn, at) => rdn === name[at])
}

/** The domain itself, and all below it; an empty one is everything. */
function isInDomain(name: string, base: string): boolean {
  const host = hostOf(name)
  return base === '' || isSameOrBelow(host, hostOf(base))
}

function isSameOrBelow(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`)
}

/** A mailbox, all of a host, or with a dot before it all of the hosts below a domain. */
function isInMailboxes(name: string, base: string): boolean {
  const [local, host] = mailboxOf(name)
  if (!base.includes('@')) return isInHostPart(host, base)
  const [baseLocal, baseHost] = mailboxOf(base)
  return local === baseLocal && host === baseHost
}

/** A quoted local part may hold an @ itself, and there are two spellings of it. */
function mailboxOf(text: string): readonly [local: string, host: string] {
  const [local, host, ...more] = text.split('@')
  if (!local || host === undefined || more.length > 0 || /["\\\s]/.test(local)) {
    return notUnderstood('rfc822Name')
  }
  return [local, hostOf(host)]
}

/** A URI without a host, or with an address for one, has to be refused (RFC 5280 4.2.1.10). */
function isInHosts(name: string, base: string): boolean {
  const written = URI_HOST.exec(name)?.[1]
  if (written === undefined) return notUnderstood('the host of a URI')
  const host = hostOf(written)
  if (LAST_LABEL_IS_NUMBER.test(host)) notUnderstood('an address in a URI')
  return isInHostPart(host, base)
}

function isInHostPart(host: string, base: string): boolean {
  return base.startsWith('.') ? host.endsWith(`.${hostOf(base.slice(1))}`) : host === hostOf(base)
}

/** Wildcards, closing dots and whatever else a name server would not have. */
function hostOf(text: string): string {
  const host = text.toLowerCase()
  const isHost = host.length <= 253 && host.split('.').every((label) => LABEL.test(label))
  return isHost ? host : notUnderstood('a host name')
}

/** RFC 4632: an address and a mask that is ones and then zeros. Of another length, it is no network of this one. */
function isInNetwork(address: Buffer, network: Buffer): boolean {
  const bytes = network.length / 2
  if (bytes !== 4 && bytes !== 16) notUnderstood('iPAddress')
  if (address.length !== 4 && address.length !== 16) notUnderstood('iPAddress')
  const mask = network.subarray(bytes)
  const bits = [...mask].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  if (bits.includes('01')) notUnderstood('a mask with gaps')
  if (address.length !== bytes) return false
  return mask.every((byte, at) => (((address[at] ?? 0) ^ (network[at] ?? 0)) & byte) === 0)
}

function notUnderstood(what: string): never {
  throw new MetabindError(
    'VERIFY_CERTIFICATE_EXTENSION',
    `Under name constraints, not understood: ${what}.`,
  )
}
