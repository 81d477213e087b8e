import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { freePort } from '../harness/free-port.ts'
import { startGuarded } from '../harness/guarded.ts'
import { startInstance } from '../harness/instance.ts'

const isRoot = process.getuid?.() === 0

describe.skipIf(!isRoot)('TCP listeners of the agent', () => {
  test.each([
    ['none unless switched on', '', []],
    [
      'two for lockdown, on loopback',
      '[transparent]\nenabled = true\nport = 9300\n',
      ['127.0.0.1:9181', '127.0.0.1:9300'],
    ],
    [
      'one for credentials URLs, on loopback',
      '[credentials_uri]\nenabled = true\n',
      ['127.0.0.1:9182'],
    ],
  ])('%s', async (_what, config, expected) => {
    const guarded = await startGuarded({ config })
    try {
      const listing = await guarded.networks.inHost(undefined, 'ss', '-Hltnu')
      const local = listing.split('\n').flatMap((line) => line.split(/\s+/)[4] ?? [])
      expect(local.sort()).toEqual(expected)
    } finally {
      await guarded.stop()
    }
  })
})

test('a port that somebody took keeps the agent from nothing else, and is used when it is free', async () => {
  const port = await freePort()
  const taken = createServer().listen(port, '127.0.0.1')
  await once(taken, 'listening')
  const directory = await mkdtemp('/tmp/listeners-')
  const config = `[credentials_uri]\nenabled = true\nport = ${port}\n`
  const instance = await startInstance(directory, { config })
  try {
    const said = await instance.agent.until(({ msg }) => /^a port is taken/.test(String(msg)))
    expect(said.cause).toContain(`127.0.0.1:${port}`)
    taken.close()
    const answered = () => fetch(`http://127.0.0.1:${port}/`).then(({ status }) => status)
    await expect.poll(() => answered().catch(() => 0)).toBe(404)
  } finally {
    await instance.stop()
    await rm(directory, { recursive: true, force: true })
  }
})
