import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Guarded, startGuarded } from '../harness/guarded.ts'

/**
 * cloud-init's AliYun data source, unmodified, as root under lockdown. `./dev test-clients` unpacks
 * the package of the distribution; it is not installed, as its services would run at the next boot.
 */

const isRoot = process.getuid?.() === 0
const HOME = fileURLToPath(
  new URL('../../.dev/cloud-init/usr/lib/python3/dist-packages', import.meta.url),
)
const SCRIPT = fileURLToPath(new URL('use-cloud-init.py', import.meta.url))

interface Found {
  readonly version: string
  readonly found: boolean
  readonly instanceId: string | null
  readonly hostname: string | null
}

/** Since 23.2.2 it uses tokens; the older one of Debian 12 cannot, and says so in its version. */
const usesTokens = ({ version }: Found) =>
  version.localeCompare('23.2.2', undefined, { numeric: true }) >= 0

describe.skipIf(!isRoot || !existsSync(HOME))('cloud-init', () => {
  let guarded: Guarded

  const run = async (): Promise<Found> => {
    const python = ['env', `PYTHONPATH=${HOME}`, '/usr/bin/python3', '-B', SCRIPT]
    return JSON.parse(await guarded.networks.inHost(undefined, ...python))
  }

  describe('where the service requires tokens', () => {
    beforeAll(async () => {
      guarded = await startGuarded()
    })
    afterAll(() => guarded?.stop())

    test('is answered by the agent by the rules of the service: with tokens or not at all', async () => {
      await guarded.lockdown('on')
      await guarded.cloud.requests()
      const got = await run()
      expect(got.found).toBe(usesTokens(got))
      const refused = guarded.instance.agent.records.find(({ code }) => code === 'TOKEN_MISSING')
      if (!usesTokens(got)) expect(refused).toMatchObject({ caller: { uid: 0 } })
      // Whatever it did, none of it reached the service but through the agent.
      const agents = (await guarded.cloud.requests()).flatMap(({ rawHeaders }) => rawHeaders)
      expect(agents.join(' ')).not.toContain('Cloud-Init')
    })
  })

  describe('where the service still takes reads without tokens', () => {
    beforeAll(async () => {
      guarded = await startGuarded({ tokens: 'optional' })
    })
    afterAll(() => guarded?.stop())

    test('finds everything while lockdown observes, and is on the list if it sends no token', async () => {
      await guarded.lockdown('on', '--observe')
      const got = await run()
      expect(got).toMatchObject({ found: true, instanceId: 'i-bp1guarded' })
      const sent = (await guarded.cloud.requests()).map(
        ({ method, target }) => `${method} ${target}`,
      )
      expect(sent).toContain('GET /2016-01-01/meta-data/instance-id')
      const listed = await guarded.metabind(['observe', '--json']).catch((error) => error.stdout)
      const [row] = JSON.parse(listed)
      expect(row.uid).toBe(0)
      expect(row.readsWithoutToken > 0).toBe(!usesTokens(got))
    })
  })
})
