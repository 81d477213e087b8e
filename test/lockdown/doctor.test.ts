import { writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { APP, type Guarded, SERVICE, startGuarded } from '../harness/guarded.ts'

const isRoot = process.getuid?.() === 0

// A command takes seconds if the machine is busy, and these tests have several.
const LONG_MS = 600_000

describe.skipIf(!isRoot)('metabind doctor and lockdown', { timeout: LONG_MS }, () => {
  let guarded: Guarded

  beforeAll(async () => {
    guarded = await startGuarded({ tokens: 'optional' })
  })
  afterAll(() => guarded?.stop())

  /** Ids of the findings that are about lockdown. */
  async function found(): Promise<string[]> {
    const config = ['instance.toml', 'more.toml'].map((file) => `${guarded.directory}/${file}`)
    const args = ['doctor', '--json', ...config.flatMap((file) => ['--config', file])]
    const said: string = await guarded.metabind(args).catch((error) => error.stdout)
    const ids: string[] = JSON.parse(said).findings.map(({ id }: { id: string }) => id)
    return ids.filter((id) => /^(lockdown|reads|firewall|service)/.test(id))
  }

  test('listeners without rules are a hint, with rules nothing is said', async () => {
    expect(await found()).toEqual(['lockdown-off'])
    await guarded.lockdown('on')
    expect(await found()).toEqual([])
  })

  test('a table that was flushed with all others is seen', async () => {
    await guarded.lockdown('on')
    await guarded.networks.inHost(undefined, 'nft', 'flush', 'ruleset')
    expect(await found()).toEqual(['lockdown-off'])
  })

  test('a rollback nobody meant is seen', async () => {
    await guarded.lockdown('on', '--for', '1s')
    await sleep(1200)
    expect(await found()).toEqual(['lockdown-off'])
  })

  test('rules that lead nowhere are seen', async () => {
    await guarded.lockdown('on')
    await guarded.instance.agent.stop()
    expect(await found()).toEqual(['lockdown-into-nothing'])
    await guarded.instance.restartAgent()
  })

  test('redirected containers that nobody listens for are seen', async () => {
    await guarded.lockdown('on', '--containers', 'redirect', '--before-agent')
    expect(await found()).toEqual(['lockdown-into-nothing'])
    await guarded.lockdown('on')
    expect(await found()).toEqual([])
  })

  test('readers without tokens are seen while observing', async () => {
    await guarded.lockdown('on', '--observe')
    await guarded.curl(APP, `${SERVICE}/latest/meta-data/instance-id`)
    // Observing without an end is not what anybody means to keep.
    expect(await found()).toEqual(['lockdown-observes', 'reads-without-token'])
    await guarded.lockdown('on', '--observe', '--for', '1h')
    expect(await found()).toEqual(['reads-without-token'])
  })

  test('a port of credentials URLs that anybody could take is seen', async () => {
    const config = `${guarded.directory}/uris.toml`
    await writeFile(config, '[credentials_uri]\nenabled = true\n')
    const args = ['doctor', '--json', '--config', config]
    const said: string = await guarded.metabind(args).catch((error) => error.stdout)
    expect(said).toContain('"credentials-port-unheld"')
  })

  test('a route that refuses packets to the service is seen', async () => {
    await guarded.lockdown('on')
    const route = (...args: string[]) => guarded.networks.inHost(undefined, 'ip', 'route', ...args)
    await route('replace', 'prohibit', '100.100.100.200/32')
    expect(await found()).toContain('service-route-refused')
    await route('replace', '100.100.100.200/32', 'via', '10.77.0.1')
    expect(await found()).not.toContain('service-route-refused')
  })
})
