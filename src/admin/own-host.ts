import { isIP } from 'node:net'

const PORT = /:\d*$/
// Libraries for sockets put the socket's path there, escaped or not. No URL of a browser has these in its host.
const OF_A_PATH = /[/%]/

/**
 * Whether the Host of a request can be that of a client of the socket: one label, as there is no name to look up. What a
 * browser asks for at a forwarded port has a port, or the name of a domain; of numeric addresses and of localhost,
 * which lead nowhere else, no web page can make names of its own (DNS rebinding).
 *
 * @param host undefined if none was sent
 */
export function isOwnHost(host = ''): boolean {
  const name = host.replace(PORT, '').replace(/^\[(.*)\]$/, '$1')
  if (isIP(name) !== 0 || name === 'localhost' || OF_A_PATH.test(host)) return true
  return !/[.:]/.test(host)
}
