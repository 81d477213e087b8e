import { readFileSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { RecordedRequest } from '../../src/simulate/request-log.ts'
import { type Guarded, LISTENERS, SERVICE, startGuarded } from '../harness/guarded.ts'
import { type Host, hostOf, isUnpacked, NEEDS_RELEASE, type Running } from '../harness/release.ts'

/** cloud-init's AliYun data source of several Debian releases, unmodified, as root under lockdown. */

const SCRIPT = readFileSync(fileURLToPath(new URL('use-cloud-init.py', import.meta.url)), 'utf8')
const USER_DATA = '#cloud-config\nhostname: made-for-this-test\n'
const USER_DATA_PATH = '/2016-01-01/user-data'
const READS = ['user-data', 'vendor-data', 'meta-data/all'].map((at) => `GET /2016-01-01/${at}`)

// Several programs start for each test, and cloud-init waits whole seconds between its tries.
const PATIENCE = { timeout: 240_000 }

interface Found {
  readonly version: string
  readonly found: boolean
  readonly instanceId: string | null
  readonly userData: string | null
}

let guarded: Guarded
let host: Host

async function prepare(release: string, tokens: 'required' | 'optional'): Promise<void> {
  const config = `${LISTENERS}[source]\ntimeout_ms = 20000\n`
  guarded = await startGuarded({ tokens, userData: USER_DATA, config })
  host = await hostOf(release, guarded.networks, join(guarded.directory, 'release-run'))
}

function start(config: object = {}): Running {
  const settings = JSON.stringify({ timeout: 2, max_wait: 4, ...config })
  return host.start(['/usr/bin/python3', '-B', '-c', SCRIPT, settings])
}

const found = async ({ stdout }: Running): Promise<Found> => JSON.parse(await stdout)
const line = ({ method, target }: RecordedRequest) => `${method} ${target}`
const EVERYTHING = { found: true, instanceId: 'i-bp1guarded', userData: USER_DATA }

/** Since 23.2.2 it uses tokens. */
describe.each(['trixie', 'forky'])('cloud-init of Debian %s', (release) => {
  describe.skipIf(!isUnpacked(release))(`with tokens required [${NEEDS_RELEASE}]`, PATIENCE, () => {
    beforeAll(() => prepare(release, 'required'))
    afterAll(() => guarded?.stop())
    beforeEach(() => guarded.cloud.requests())

    // The first, as the agent would have kept the user data that it read for another.
    test('does not try again what it could not read: its callback for that fails', async () => {
      await guarded.lockdown('on')
      await guarded.cloud.fault({ kind: 'status', code: 500, path: USER_DATA_PATH })
      expect(await found(start())).toMatchObject({ ...EVERYTHING, userData: '' })
      const sent = (await guarded.cloud.requests()).map(line)
      expect(sent.filter((one) => one === READS[0])).toHaveLength(1)
      await guarded.cloud.fault(undefined)
    })

    test('sends one PUT and three reads, each with the token', async () => {
      await guarded.lockdown('on', '--observe')
      expect(await found(start())).toMatchObject(EVERYTHING)
      const sent = await guarded.cloud.requests()
      expect(sent.map(line)).toEqual(['PUT /latest/api/token', ...READS])
      expect(sent.map(({ status }) => status)).toEqual([200, 200, 404, 200])
      const [row] = JSON.parse(await guarded.metabind(['observe', '--json'])).observed
      expect(row).toMatchObject({ uid: 0, readsWithoutToken: 0, readsWithToken: 3 })
    })

    test('finds everything through the agent: the default policy lets root read it', async () => {
      await guarded.lockdown('on')
      expect(await found(start())).toMatchObject(EVERYTHING)
      const read = () =>
        guarded.instance.agent.records
          .filter(({ event }) => event === 'secret.read')
          .map(({ path }) => path)
          .slice(-2)
      await expect.poll(read).toEqual(['/2016-01-01/user-data', '/2016-01-01/meta-data/all'])
      const headers = (await guarded.cloud.requests()).flatMap(({ rawHeaders }) => rawHeaders)
      expect(headers.join(' ')).not.toContain('Cloud-Init')
    })
  })
})

/**
 * What it does not survive is its own doing: the callbacks of 25.1.4 and 26.2 for failed reads take one
 * argument more than they are given, so that nothing is tried again and no token renewed.
 */
describe.skipIf(!isUnpacked('trixie'))(`in trouble [${NEEDS_RELEASE}]`, PATIENCE, () => {
  beforeAll(() => prepare('trixie', 'required'))
  afterAll(() => guarded?.stop())
  beforeEach(async () => {
    await stopAgentOfThisBoot()
    await guarded.instance.restartAgent()
    await guarded.lockdown('on')
    await guarded.cloud.requests()
  })
  afterEach(() => guarded.cloud.fault(undefined))

  /** The next one has nothing of what this one has read and proven, as after a reboot. */
  async function stopAgentOfThisBoot(): Promise<void> {
    await guarded.instance.agent.stop()
    const { runtimeDirectory } = guarded.instance
    for (const name of await readdir(runtimeDirectory)) {
      await rm(join(runtimeDirectory, name), { recursive: true })
    }
  }

  /** Waits until the agent has asked for the user data, and again until it has been answered. */
  async function asked(isOver: (request: RecordedRequest) => boolean): Promise<void> {
    const until = Date.now() + 30_000
    while (Date.now() < until) {
      const sent = await guarded.cloud.recorded()
      if (sent.some((one) => one.target === USER_DATA_PATH && isOver(one))) return
      await sleep(20)
    }
    throw new Error('nobody asked for the user data')
  }

  /** Does something while cloud-init has its user data and nothing else. */
  async function midway(doing: () => Promise<unknown>): Promise<Found> {
    await guarded.cloud.fault({ kind: 'latency', ms: 4000, path: USER_DATA_PATH })
    const running = start()
    await asked(() => true)
    running.child.kill('SIGSTOP')
    await asked(({ status }) => status === 200)
    await doing()
    await guarded.cloud.requests()
    running.child.kill('SIGCONT')
    return found(running)
  }

  const issued = () =>
    guarded.instance.agent.records.filter(({ event }) => event === 'token.issued').length

  test('goes on with its token where the agent is restarted in the middle', async () => {
    expect(await midway(() => guarded.instance.restartAgent())).toMatchObject(EVERYTHING)
    expect(issued()).toBe(0)
    const sent = (await guarded.cloud.requests()).map(line)
    expect(sent).toEqual(READS.slice(1))
  })

  test('does not renew a token that is revoked in the middle', async () => {
    await midway(() => guarded.metabind(['revoke', '--all']))
    await expect.poll(issued).toBe(1)
    expect(await guarded.cloud.requests()).toEqual([])
    expect(await found(start())).toMatchObject(EVERYTHING)
  })

  test('waits for an agent that is not ready, as the service is away', async () => {
    await stopAgentOfThisBoot()
    await guarded.cloud.stop()
    const ready = guarded.instance.restartAgent()
    const running = start({ max_wait: 60 })
    await sleep(4000)
    await guarded.cloud.start()
    await ready
    expect(await found(running)).toMatchObject(EVERYTHING)
    await expect.poll(issued).toBe(1)
  })

  test('gives up where there is no agent within max_wait', async () => {
    await guarded.instance.agent.stop()
    expect(await found(start())).toMatchObject({ found: false })
  })

  test('is answered while the service is away, from what the agent has read before', async () => {
    expect(await found(start())).toMatchObject(EVERYTHING)
    await guarded.cloud.stop()
    expect(await found(start())).toMatchObject(EVERYTHING)
    await guarded.cloud.start()
  })

  test('takes the first of metadata_urls that answers, which can be the service’s only', async () => {
    const urls = ['http://127.0.0.1:9', `${SERVICE}:80`]
    expect(await found(start({ metadata_urls: urls }))).toMatchObject(EVERYTHING)
    // The listener of the agent itself is for redirected callers only.
    const listener = { metadata_urls: ['http://127.0.0.1:9180'] }
    expect(await found(start(listener))).toMatchObject({ found: false })
  })
})

/** 22.4.2: no tokens. */
describe.skipIf(!isUnpacked('bookworm'))(
  `cloud-init of Debian 12 [${NEEDS_RELEASE}]`,
  PATIENCE,
  () => {
    afterEach(() => guarded?.stop())

    test('is refused where tokens are required', async () => {
      await prepare('bookworm', 'required')
      await guarded.lockdown('on')
      await guarded.cloud.requests()
      expect(await found(start())).toMatchObject({ found: false })
      const { agent } = guarded.instance
      const refused = await agent.until(({ code }) => code === 'TOKEN_MISSING')
      expect(refused).toMatchObject({ caller: { uid: 0 } })
      // Whatever it did, none of it reached the service but through the agent.
      const headers = (await guarded.cloud.requests()).flatMap(({ rawHeaders }) => rawHeaders)
      expect(headers.join(' ')).not.toContain('Cloud-Init')
    })

    test('finds everything while lockdown observes, and is on the list', async () => {
      await prepare('bookworm', 'optional')
      await guarded.lockdown('on', '--observe')
      expect(await found(start())).toMatchObject({ found: true, instanceId: 'i-bp1guarded' })
      const sent = await guarded.cloud.requests()
      expect(sent.map(line)).toContain('GET /2016-01-01/meta-data/instance-id')
      const listed = await guarded.metabind(['observe', '--json']).catch((error) => error.stdout)
      const [row] = JSON.parse(listed).observed
      expect(row.uid).toBe(0)
      expect(row.readsWithoutToken).toBeGreaterThan(0)
    })
  },
)
