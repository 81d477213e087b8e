import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
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

test('of several that the directory does not know each is told', async () => {
  const file = join(dir, 'policy.toml')
  await writeFile(file, '[[rule]]\neffect = "allow"\nusers = ["ann", "bob"]\npaths = ["/a"]\n')
  await directoryKnows(false)
  const records: AuditRecord[] = []
  await policyInForce([], (record) => records.push(record)).take(file)
  expect(records[1]).toEqual({
    event: 'policy.unknown-accounts',
    detail: `${file}:3: rule 1: users: 'ann' is nobody here. ${file}:3: rule 1: users: 'bob' is nobody here.`,
  })
})

test('before the first policy nothing can be decided', () => {
  const policy = policyInForce([], () => undefined)
  expect(() => policy.current()).toThrow(expect.objectContaining({ code: 'AGENT_NOT_READY' }))
})

test('a file that is refused is told by a record, and the policy before stays', async () => {
  const file = join(dir, 'policy.toml')
  const records: AuditRecord[] = []
  const policy = policyInForce([], (record) => records.push(record))
  await writeFile(file, 'mode = "audit"\n')
  await policy.take(file)
  const before = policy.current()
  await writeFile(file, 'mode = "none"\n')
  await expect(policy.take(file)).rejects.toMatchObject({ code: 'POLICY_INVALID' })
  expect(policy.current()).toBe(before)
  expect(records).toMatchObject([
    { event: 'policy.loaded' },
    { event: 'policy.not-loaded', detail: expect.any(String) },
  ])
})

test('a policy that opens secrets to everybody says by which rule', async () => {
  const file = join(dir, 'policy.toml')
  const detail = async (text: string) => {
    await writeFile(file, text)
    const records: AuditRecord[] = []
    await policyInForce(['/secret'], (record) => records.push(record)).take(file)
    return records[0]?.detail
  }
  const rules = ['/open', '/secret'].map(
    (path) => `[[rule]]\neffect = "allow"\npaths = ["${path}"]\n`,
  )
  expect(await detail(rules.join(''))).toBe(
    `${file}: enforce, 2 rules; secret paths are open to everybody by rule 2`,
  )
  expect(await detail('mode = "audit"\n')).toBe(`${file}: audit, 0 rules`)
})

test('users of a policy that another has taken the place of are looked up no more', async () => {
  const file = join(dir, 'policy.toml')
  await writeFile(file, '[[rule]]\neffect = "allow"\nusers = ["ann"]\npaths = ["/a"]\n')
  const records: AuditRecord[] = []
  const policy = policyInForce([], (record) => records.push(record))
  await directoryKnows(false)
  await policy.take(file)
  const looked = vi.spyOn(policy.current(), 'lookUpAgain')
  await writeFile(file, '')
  await policy.take(file)
  const second = policy.current()
  await directoryKnows(true)
  await vi.advanceTimersByTimeAsync(60_000)
  await looked.mock.results[0]?.value
  await setImmediate()
  expect(policy.current()).toBe(second)
  expect(records.filter(({ event }) => event === 'policy.loaded')).toHaveLength(2)
})
