import { expect, test } from 'vitest'
import { listenersOn, socketBetween, socketsTo } from '../../src/caller/proc-net-tcp.ts'

// Lines of a Linux 6 kernel; the remote end of the first two is 100.100.100.200 port 80.
const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
const REST = '00000000:00000000 00:00000000 00000000'
/** As the kernel writes it: `%5u %8d %lu`. */
const owned = (uid: number, inode: number) => `${REST} ${String(uid).padStart(5)}        0 ${inode}`
const line = (local: string, remote: string, uid: number, inode: number) =>
  `   0: ${local}:9C40 ${remote} 01 ${owned(uid, inode)} 1 0000000000000000 20 4 30 10 -1`

test('sockets to the address and port are found, with uid and inode', () => {
  const text = [HEAD, line('02004D0A', 'C8646464:0050', 1000, 4711), ''].join('\n')
  expect(socketsTo(text, '100.100.100.200', 80)).toEqual([{ uid: 1000, inode: 4711 }])
})

test('an IPv6 socket to the mapped address is one of them', () => {
  const local = '0000000000000000FFFF000002004D0A'
  const text = line(local, '0000000000000000FFFF0000C8646464:0050', 33, 5)
  expect(socketsTo(text, '100.100.100.200', 80)).toEqual([{ uid: 33, inode: 5 }])
})

test.each([
  ['another port', line('02004D0A', 'C8646464:0051', 1, 2)],
  ['another address', line('02004D0A', 'C9646464:0050', 1, 2)],
  ['the address as the local end', line('C8646464', '02004D0A:0050', 1, 2)],
  ['a closed socket, whose uid says nothing', line('02004D0A', 'C8646464:0050', 0, 0)],
  ['the head line', HEAD],
])('%s is not', (_what, text) => {
  expect(socketsTo(text, '100.100.100.200', 80)).toEqual([])
})

test('the socket between two ends is found, of IPv4 and of IPv6, and no other', () => {
  const remote = { address: '100.100.100.200', port: 80 }
  const from = { address: '10.77.0.2', port: 40_000 }
  const mapped = '0000000000000000FFFF0000'
  const text = [
    HEAD,
    line('03004D0A', 'C8646464:0050', 1, 1),
    // From the same end, but to another.
    line('02004D0A', 'C9646464:0050', 4, 4),
    line('02004D0A', 'C8646464:0050', 2, 2),
  ]
  expect(socketBetween(text.join('\n'), from, remote)).toEqual({ uid: 2, inode: 2 })
  const six = line(`${mapped}02004D0A`, `${mapped}C8646464:0050`, 3, 3)
  expect(socketBetween(six, from, remote)).toEqual({ uid: 3, inode: 3 })
  for (const other of [
    line('02004D0A', 'C8646464:0051', 1, 1),
    line('C8646464', '02004D0A:9C40', 1, 1),
    line('02004D0A', 'C8646464:0050', 0, 0),
    line('0000000000000000FFFF000102004D0A', `${mapped}C8646464:0050`, 1, 1),
  ]) {
    expect(socketBetween(other, from, remote)).toBeUndefined()
  }
})

test('listeners on a port are found by their users; other ports, addresses and connections are not', () => {
  const listens = (local: string, uid: number) =>
    `   1: ${local} 00000000:0000 0A ${owned(uid, 99)} 1 0000000000000000 100 0 0 10 0`
  const text = [
    HEAD,
    listens('0100007F:23DC', 61_001),
    listens('00000000:23DC', 33),
    listens('0100007F:23DD', 1),
    listens('02004D0A:23DC', 2),
    line('0100007F', '0100007F:23DC', 3, 4),
    // One that was accepted there.
    `   2: 0100007F:23DC 0100007F:9C40 01 ${owned(4, 5)} 1 0000000000000000 20 4 30 10 -1`,
  ].join('\n')
  expect(listenersOn(text, 9180)).toEqual([61_001, 33])
  expect(listenersOn(text, 9180, '10.77.0.2')).toEqual([33, 2])
})
