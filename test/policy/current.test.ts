import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { AuditRecord } from '../../src/audit/audit.ts'
import { policyInForce } from '../../src/policy/current.ts'

const { PATH } = process.env
let dir: string

beforeEach(async () => {
  dir = await mkdtemp('/tmp/policy-in-force-')
  process.env.PATH = `${dir}:${PATH}`
  vi.useFakeTimers({ toFake: ['setTimeout'] })
})

afterEach(async () => {
  vi.useRealTimers()
  process.env.PATH = PATH
  await rm(dir, { recursive: true })
})

async function directoryKnows(known: boolean): Promise<void> {
  await writeFile(
    join(dir, 'getent'),
    known ? '#!/bin/sh\necho ann:x:70001:0::/:\n' : '#!/bin/sh\nexit 2\n',
  )
  await chmod(join(dir, 'getent'), 0o755)
}

test('a user whom the directory does not know yet is looked up again each minute', async () => {
  const file = join(dir, 'policy.toml')
  await writeFile(file, '[[rule]]\neffect = "allow"\nusers = ["ann"]\npaths = ["/a"]\n')
  const records: AuditRecord[] = []
  const policy = policyInForce([], (record) => records.push(record))
  const users = () => [...(policy.current().policy.rules[0]?.users ?? [])]
  const events = () => records.map(({ event }) => event)

  await directoryKnows(false)
  await policy.take(file)
  expect(users()).toEqual([])
  await vi.advanceTimersByTimeAsync(60_000)
  await vi.waitFor(() => expect(vi.getTimerCount()).toBe(1))
  expect(events()).toEqual(['policy.loaded', 'policy.unknown-accounts'])

  await directoryKnows(true)
  // What is in the file by now is for the next reload.
  await writeFile(file, '')
  await vi.advanceTimersByTimeAsync(60_000)
  await vi.waitFor(() => expect(users()).toEqual([70_001]))
  expect(events()).toEqual(['policy.loaded', 'policy.unknown-accounts', 'policy.loaded'])
  expect(vi.getTimerCount()).toBe(0)
})
