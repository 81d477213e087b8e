/** RTF_REJECT of <linux/route.h>: packets are refused; set for routes of type prohibit and unreachable. */
const REJECT = 0x200
const ONE_HOST = 'FFFFFFFF'

/**
 * Whether the main routing table refuses packets to one IPv4 address by a route for that address alone.
 *
 * @param text /proc/net/route; addresses in it are in the byte order of the machine, here little-endian
 */
export function isRouteRefused(text: string, address: string): boolean {
  const bytes = address.split('.').map(Number).reverse()
  const wanted = Buffer.from(bytes).toString('hex').toUpperCase()
  return text.split('\n').some((line) => {
    const [, destination, , flags = '', , , , mask] = line.split('\t').map((field) => field.trim())
    const isReject = (Number.parseInt(flags, 16) & REJECT) !== 0
    return destination === wanted && mask === ONE_HOST && isReject
  })
}
