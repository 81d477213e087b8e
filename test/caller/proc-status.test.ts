import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import {
  mapsEveryId,
  parsePidNamespaces,
  parseStartTime,
  parseStatus,
} from '../../src/caller/proc-status.ts'

const STATUS = `Name:\tnode
Umask:\t0022
Uid:\t1001\t1002\t1003\t1004
Gid:\t1\t2\t3\t4
Groups:\t4 27 
NStgid:\t5169
NSpid:\t5169
CapEff:\t0000000000080000
`

test('status', () => {
  expect(parseStatus(STATUS)).toEqual({
    pidNamespaces: 1,
    capabilities: 1n << 19n,
  })
})

test('a process in a PID namespace within a PID namespace', () => {
  const nested = STATUS.replace('NSpid:\t5169', 'NSpid:\t5169\t12\t1')
  expect(parseStatus(nested)?.pidNamespaces).toBe(3)
})

test.each(['NSpid', 'CapEff'])('status without %s is not believed', (name) => {
  expect(parseStatus(STATUS.replace(`${name}:`, 'X:'))).toBeUndefined()
})

test('a process that is called as a line is no line', async () => {
  const name = '\rNSpid:\t1\t2'
  const rename = `printf '${name}' >/proc/$$/comm; cat /proc/$$/status; :`
  const { stdout } = await promisify(execFile)('bash', ['-c', rename], { encoding: 'latin1' })
  expect(stdout).toMatch(/^Name:\t\rNSpid:\t1\t2\n/)
  expect(parsePidNamespaces(stdout)).toBe(1)
  expect(
    parsePidNamespaces(
      STATUS.replace('\tnode', '\t\rNSpid:\t1').replace(/(NSpid:\t5169)/, '$1\t1'),
    ),
  ).toBe(2)
  expect(
    parseStatus(STATUS.replace('\tnode', `\t\rCapEff:\t${'f'.repeat(16)}`))?.capabilities,
  ).toBe(1n << 19n)
})

test('this process', () => {
  const status = parseStatus(readFileSync('/proc/self/status', 'latin1'))
  expect(status?.pidNamespaces).toBeGreaterThanOrEqual(1)
})

test.each([
  ['pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t19\nPid:\t77\nNSpid:\t77\n', 1],
  ['Pid:\t77\nNSpid:\t77\t2\t1\n', 3],
  // One that has ended and was waited for, and one that this /proc does not see.
  ['Pid:\t-1\nNSpid:\t-1\n', undefined],
  ['Pid:\t0\nNSpid:\t0\n', undefined],
  ['Pid:\t77\n', undefined],
])('the descriptor of a process that says %j: %s namespaces', (text, namespaces) => {
  expect(parsePidNamespaces(text)).toBe(namespaces)
})

test('the start time is field 22, whatever the process calls itself', () => {
  const after = Array.from({ length: 50 }, (_, at) => String(at + 3)).join(' ')
  for (const name of ['node', 'a b', ') R 1 1', '))', '']) {
    expect(parseStartTime(`77 (${name}) ${after}`)).toBe('22')
  }
  expect(parseStartTime('77 (node) S 1')).toBeUndefined()
  expect(parseStartTime('')).toBeUndefined()
  for (const no of ['', '1x', 'x1', '-1']) {
    expect(parseStartTime(`77 (node) ${after.replace(' 22 ', ` ${no} `)}`)).toBeUndefined()
  }
})

test.each([
  ['         0          0 4294967295\n', true],
  ['         0     100000      65536\n', false],
  ['         0          0       1000\n      1000     101000      64536\n', false],
  ['0 0 4294967295', true],
  ['         0          0  4294967295\n\n', true],
  ['         1          0          0 4294967295\n', false],
  ['         0          0 4294967295\n         1          1          1\n', false],
  ['', false],
])('uid_map %j maps every uid: %s', (text, every) => {
  expect(mapsEveryId(text)).toBe(every)
})
