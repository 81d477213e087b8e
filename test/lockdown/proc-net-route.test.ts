import { expect, test } from 'vitest'
import { isRouteRefused } from '../../src/lockdown/proc-net-route.ts'

const HEAD =
  'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT   \n'
const route = (iface: string, destination: string, flags: string, mask: string) =>
  `${HEAD}${iface}\t${destination}\t00000000\t${flags}\t0\t0\t0\t${mask}\t0\t0\t0   \n`
const refused = (text: string) => isRouteRefused(text, '100.100.100.200')

test('a prohibit route for the address', () => {
  expect(refused(route('*', 'C8646464', '0205', 'FFFFFFFF'))).toBe(true)
})

test.each([
  ['another address', route('*', 'C9646464', '0205', 'FFFFFFFF')],
  ['an ordinary route', route('eth0', 'C8646464', '0005', 'FFFFFFFF')],
  ['a whole network', route('*', 'C8646464', '0201', '00FFFFFF')],
  ['no routes', HEAD],
  ['nothing', ''],
])('none: %s', (_name, text) => {
  expect(refused(text)).toBe(false)
})
