import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { RecordedRequest } from '../../src/simulate/request-log.ts'
import { AGENT, APP, type Guarded, SERVICE, startGuarded } from '../harness/guarded.ts'
import { isUnpacked, NEEDS_RELEASE } from '../harness/release.ts'
import { type Imdsd, imdsdNetwork, startImdsd } from './imdsd.ts'

/** systemd-imdsd beside metabind: what docs/migration.md says of the two on one machine. */

const IMDS = 61_004
const STRANGER = 61_005
const USER_DATA = '{"systemd.credentials":[{"name":"made.for.test","text":"hello"}]}'
const RULES = `[[rule]]
name = "systemd's metadata service hands user data to root"
effect = "allow"
users = [${IMDS}]
paths = ["/*/user-data"]
`
// It waits whole seconds between its tries.
const PATIENCE = { timeout: 240_000 }

let guarded: Guarded
let imdsd: Imdsd

const line = ({ method, target }: RecordedRequest) => `${method} ${target}`
const issued = () =>
  guarded.instance.agent.records.filter(({ event }) => event === 'token.issued').length
const failure = (asking: Promise<string>) =>
  asking.then(
    (said) => `it said ${said}`,
    (error) => String(error.stderr),
  )
const forgetToken = () => rm(join(imdsd.directory, 'cache/h0/token'), { force: true })

describe.skipIf(!isUnpacked('forky'))(`systemd-imdsd [${NEEDS_RELEASE}]`, PATIENCE, () => {
  beforeAll(async () => {
    guarded = await startGuarded({ rules: RULES, userData: USER_DATA })
    imdsd = await startImdsd(guarded, IMDS)
  })
  afterAll(async () => {
    await imdsd?.stop()
    await guarded?.stop()
  })
  beforeEach(async () => {
    await rm(join(imdsd.directory, 'cache'), { recursive: true, force: true })
    await guarded.lockdown('on')
    await guarded.cloud.requests()
  })

  test('reads with a token, which it keeps', async () => {
    await guarded.lockdown('on', '--observe')
    expect(await imdsd.ask('--well-known=region')).toBe('cn-hangzhou')
    expect(await imdsd.ask('/meta-data/instance-id')).toBe('i-bp1guarded')
    const sent = await guarded.cloud.requests()
    expect(sent.map(line)).toEqual([
      'PUT /latest/api/token',
      'GET /latest/meta-data/region-id',
      'GET /latest/meta-data/instance-id',
    ])
    const [row] = JSON.parse(await guarded.metabind(['observe', '--json'])).observed
    expect(row).toMatchObject({ uid: IMDS, readsWithoutToken: 0, readsWithToken: 2 })
  })

  test('is answered by the agent under its own uid', async () => {
    expect(await imdsd.ask('--well-known=zone')).toMatch(/^cn-hangzhou-/)
    const record = await guarded.instance.agent.until(({ event }) => event === 'token.issued')
    expect(record).toMatchObject({ caller: { uid: IMDS } })
    const headers = (await guarded.cloud.requests()).flatMap(({ rawHeaders }) => rawHeaders)
    expect(headers.join(' ')).not.toContain('systemd-imdsd')
  })

  test('gets what is secret by a rule for its uid, and nothing without one', async () => {
    expect(await imdsd.ask('--userdata')).toBe(USER_DATA)
    const credentials = '/meta-data/ram/security-credentials/app-role'
    expect(await failure(imdsd.ask(credentials))).toContain('NotAvailable')
    const stranger = await startImdsd(guarded, STRANGER)
    try {
      expect(await failure(stranger.ask('--userdata'))).toContain('NotAvailable')
    } finally {
      await stranger.stop()
    }
  })

  test('imports credentials through the agent', async () => {
    await imdsd.ask('--import')
    const store = join(imdsd.runDirectory, 'credstore')
    expect((await readdir(store)).sort()).toEqual([
      'firstboot.hostname',
      'made.for.test',
      'ssh.authorized_keys.root',
    ])
    expect(await readFile(join(store, 'made.for.test'), 'utf8')).toBe('hello')
  })

  test('goes on with its token after a restart of the agent, and waits while that is away', async () => {
    await imdsd.ask('--well-known=region')
    await guarded.instance.agent.stop()
    const asking = imdsd.ask('--well-known=zone')
    await sleep(1000)
    await guarded.instance.restartAgent()
    expect(await asking).toMatch(/^cn-hangzhou-/)
    expect(issued()).toBe(0)
  })

  test('waits for a service that is away', async () => {
    await guarded.cloud.stop()
    const asking = imdsd.ask('/meta-data/vpc-id')
    await guarded.instance.agent.until(({ event }) => event === 'token.issued')
    await sleep(1000)
    await guarded.cloud.start()
    expect(await asking).toMatch(/^vpc-/)
  })

  test('fails with a token that has ended until it forgets it', async () => {
    await imdsd.ask('--well-known=region')
    await guarded.metabind(['revoke', '--all'])
    expect(await failure(imdsd.ask('--well-known=zone'))).not.toContain('cn-hangzhou')
    await forgetToken()
    expect(await imdsd.ask('--well-known=zone')).toMatch(/^cn-hangzhou-/)
  })

  describe('in the network that it asks for', () => {
    const ip = (...args: string[]) => guarded.networks.inHost(undefined, 'ip', ...args)
    const asAgent = ['rule', 'add', 'uidrange', `${AGENT}-${AGENT}`]

    /** What systemd-networkd makes of its file, as far as it is about the metadata service. */
    async function apply(network: string): Promise<string> {
      const table = /^Table=(0x[0-9A-F]+)$/m.exec(network)?.[1] ?? 'none'
      expect(/^FirewallMark=(.*)$/m.exec(network)?.[1]).toBe(table)
      if (/^Type=prohibit$/m.test(network)) {
        await ip('route', 'replace', 'prohibit', '100.100.100.200/32')
      }
      await ip('route', 'add', '100.100.100.200/32', 'dev', 'h0', 'scope', 'link', 'table', table)
      await ip('rule', 'add', 'fwmark', table, 'table', table)
      return table
    }

    afterEach(async () => {
      for (const priority of ['32765', '32764']) {
        await ip('rule', 'del', 'priority', priority).catch(() => undefined)
      }
      await ip('route', 'flush', 'table', String(0x7fff0815)).catch(() => undefined)
      await ip('route', 'replace', '100.100.100.200/32', 'via', '10.77.0.1')
    })

    test('unlocked, which is the default, both work', async () => {
      const network = await imdsdNetwork(imdsd, '')
      expect(network).not.toContain('prohibit')
      await apply(network)
      expect(await imdsd.ask('--well-known=region')).toBe('cn-hangzhou')
      await expect.poll(issued).toBeGreaterThan(0)
      expect(await guarded.metabind(['get', 'mac'], APP)).toMatch(/^00:16:3e/)
    })

    test('locked, the agent does not reach the service without a routing rule', async () => {
      const table = await apply(await imdsdNetwork(imdsd, 'systemd.imds.network=locked'))
      // It has the only way there, which lockdown sends to the agent.
      expect(await failure(guarded.metabind(['get', 'vswitch-id'], APP))).toContain('SOURCE_DOWN')
      await ip(...asAgent, 'table', table)
      // A source that was silent is not asked again at once.
      const again = () => guarded.metabind(['get', 'vswitch-id'], APP).catch(String)
      await expect.poll(again).toMatch(/^vsw-/)
      expect(await imdsd.ask('/meta-data/vpc-id')).toMatch(/^vpc-/)
      // No packet of others leaves, so that there is nothing to redirect.
      const direct = guarded.curl(APP, `${SERVICE}/latest/meta-data/instance-id`)
      expect(await failure(direct)).toMatch(/Permission denied|Couldn't connect/)
    })
  })
})
