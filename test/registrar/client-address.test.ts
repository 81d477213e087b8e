import { describe, expect, test } from 'vitest'
import {
  clientAddress,
  ratePerAddress,
  sharedNetwork,
  siteOf,
} from '../../src/registrar/client-address.ts'

const PROXIES = new Set(['127.0.0.1', '10.0.0.1'])
const from = (remoteAddress: string, forwarded?: string) =>
  clientAddress(
    {
      socket: { remoteAddress },
      headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
    },
    PROXIES,
  )

describe('where a request comes from', () => {
  test.each([
    ['a peer that is no proxy, whatever it says', '192.0.2.7', '198.51.100.1', '192.0.2.7'],
    ['a proxy', '127.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['a proxy on an IPv6 socket', '::ffff:127.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['a chain of ours', '127.0.0.1', '198.51.100.1, 10.0.0.1', '198.51.100.1'],
    ['a forged beginning', '127.0.0.1', '1.2.3.4, 198.51.100.1', '198.51.100.1'],
    ['IPv6', '127.0.0.1', '2001:db8::1', '2001:db8::1'],
    ['nonsense', '127.0.0.1', 'unknown', '127.0.0.1'],
    ['nothing but proxies', '127.0.0.1', '10.0.0.1', '127.0.0.1'],
    ['a proxy for itself', '127.0.0.1', undefined, '127.0.0.1'],
  ])('%s', (_name, peer, forwarded, expected) => {
    expect(from(peer, forwarded)).toBe(expected)
  })
})

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:DB8:1:2::', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('%s is of %s', (address, network) => {
  expect(sharedNetwork(address)).toBe(network)
})

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:02ff::1', '2001:db8:1:200::/56'],
  ['2001:db8:1:300::1', '2001:db8:1:300::/56'],
  ['::1', '0:0:0:0::/56'],
])('%s is of the site %s', (address, site) => {
  expect(siteOf(address)).toBe(site)
})

test('ten thousand addresses that come at once have a rate each', () => {
  const takeOf = ratePerAddress({ perSecond: 1, burst: 2 }, () => 0)
  const addresses = Array.from({ length: 10_000 }, (_, at) => `10.0.${at >> 8}.${at & 255}`)
  expect(addresses.filter((address) => takeOf(address) !== 0)).toEqual([])
})

test('an address has its own rate, an IPv6 network one', () => {
  let nowMs = 0
  const takeOf = ratePerAddress({ perSecond: 1, burst: 2 }, () => nowMs)
  const taken = (address: string) => takeOf(address) === 0
  expect([taken('192.0.2.1'), taken('192.0.2.1'), taken('192.0.2.1')]).toEqual([true, true, false])
  expect(taken('192.0.2.2')).toBe(true)
  const ipv6 = ['2001:db8::1', '2001:db8::2', '2001:db8::3'].map(taken)
  expect(ipv6).toEqual([true, true, false])
  nowMs += 1000
  expect(taken('192.0.2.1')).toBe(true)
})
