import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, readFileSync } from 'node:fs'
import { openPidfd } from 'metabind-linux'
import { expect, test } from 'vitest'
import {
  effectiveUidOf,
  isUnmappedGroup,
  isUnmappedUser,
  readPinned,
  readProcess,
  requireProc,
  seesExecutables,
  startTimeOf,
} from '../../src/caller/process.ts'

/** This process in its own place; caller.test.ts has agents in other namespaces and without capabilities. */

test('/proc shows this namespace and other users in it', () => {
  expect(() => requireProc()).not.toThrow()
})

test('executables of others are seen with the capability for it', () => {
  const status = readFileSync('/proc/self/status', 'utf8')
  const capabilities = BigInt(`0x${/^CapEff:\t(.*)$/m.exec(status)?.[1]}`)
  expect(seesExecutables()).toBe(((capabilities >> 19n) & 1n) === 1n)
})

const mapsEvery = (file: string) => /^\s*0\s+0\s+4294967295\n$/.test(readFileSync(file, 'utf8'))

test('65534 stands for others only where not every number is mapped', () => {
  expect(isUnmappedUser(65_534)).toBe(!mapsEvery('/proc/self/uid_map'))
  expect(isUnmappedGroup(65_534)).toBe(!mapsEvery('/proc/self/gid_map'))
  expect([isUnmappedUser(1001), isUnmappedGroup(1001)]).toEqual([false, false])
})

test('a process has one start time, and the user that it acts as', () => {
  expect(startTimeOf(process.pid)).toMatch(/^\d+$/)
  expect(startTimeOf(process.pid)).toBe(startTimeOf(process.pid))
  expect(effectiveUidOf(process.pid)).toBe(process.geteuid?.())
  expect(() => startTimeOf(2 ** 22 + 1)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
})

test('another process that has the number of one that has ended is not taken for it', async () => {
  const child = spawn('sleep', ['60'])
  const pidfd = openPidfd(child.pid ?? 0)
  if (pidfd === undefined) throw new Error('no pidfd')
  try {
    expect(readPinned(child.pid ?? 0, pidfd, undefined).namespaces).toEqual([])
    child.kill('SIGKILL')
    await once(child, 'exit')
    const gone = expect.objectContaining({ code: 'CALLER_UNKNOWN', detail: 'its process is gone' })
    // As if this process had got its number.
    for (const read of [readProcess, readPinned]) {
      expect(() => read(process.pid, pidfd, undefined)).toThrow(gone)
    }
  } finally {
    closeSync(pidfd)
  }
})
