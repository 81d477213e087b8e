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

/** What an agent with this configuration says before it ends. */
async function refusal(config: string, source?: string): Promise<string> {
  const directory = await mkdtemp('/tmp/listeners-')
  try {
    const instance = await startInstance(directory, { config, source })
    await instance.stop()
    return 'it started'
  } catch (error) {
    return String(error)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

test('a port that is taken ends the agent with a sentence', async () => {
  const port = await freePort()
  const taken = createServer().listen(port, '127.0.0.1')
  await once(taken, 'listening')
  const said = await refusal(`[credentials_uri]\nenabled = true\nport = ${port}\n`)
  taken.close()
  expect(said).toContain(`The agent cannot listen on its socket. 127.0.0.1:${port}`)
})
