import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { APP, type Guarded, SERVICE, startGuarded } from '../harness/guarded.ts'
import { CLI } from '../harness/programs.ts'

const isRoot = process.getuid?.() === 0

// A command takes seconds if the machine is busy, and these tests have several.
const LONG_MS = 600_000

describe.skipIf(!isRoot)('lockdown in the audit trail', { timeout: LONG_MS }, () => {
  let guarded: Guarded

  beforeAll(async () => {
    guarded = await startGuarded()
  })
  afterAll(() => guarded?.stop())

  const recorded = (event: string, detail: string | undefined) =>
    guarded.instance.agent.until((seen) => seen.event === event && seen.detail === detail)
  const known = async () => {
    // Until the agent is ready again it listens for nobody, and its exit code says so.
    const said = await guarded.metabind(['status', '--json']).catch((error) => error.stdout)
    return JSON.parse(said).lockdown
  }

  test('who turned it on, confirmed it and turned it off', async () => {
    expect(await known()).toEqual({ state: 'unknown', redirected: 0 })
    await guarded.lockdown('on', '--for', '1h')
    const on = await recorded(
      'lockdown.on',
      'enforce, containers: refuse, for 3600 s unless confirmed',
    )
    expect(on).toMatchObject({ verdict: 'done', caller: { uid: 0 } })
    expect(await known()).toMatchObject({ state: 'enforce', until: expect.any(String) })
    await guarded.lockdown('confirm')
    await recorded('lockdown.on', 'confirmed: it does not roll back')
    expect(await known()).not.toHaveProperty('until')
    await guarded.lockdown('off')
    expect(await recorded('lockdown.off', undefined)).toMatchObject({ caller: { uid: 0 } })
    expect(await known()).toMatchObject({ state: 'off' })
  })

  test('that the kernel has rolled back', async () => {
    await guarded.lockdown('on', '--observe', '--for', '2s')
    await recorded('lockdown.on', 'observe, for 2 s unless confirmed')
    const off = await recorded('lockdown.off', 'rolled back: not confirmed within 2 s')
    expect(off).not.toHaveProperty('caller')
  })

  test('without an agent it is turned on and off all the same, and said not to be recorded', async () => {
    await guarded.instance.agent.stop()
    await guarded.lockdown('on', '--before-agent')
    const off = ['lockdown', 'off', '--admin-socket', guarded.instance.adminSocket]
    const loud = ['sh', '-c', 'exec "$@" 2>&1', 'sh', process.execPath, CLI, ...off]
    expect(await guarded.networks.inHost(undefined, ...loud)).toMatch(
      /^metabind: done, but not recorded in the audit trail: ./,
    )
    await expect(guarded.lockdown('status')).rejects.toMatchObject({ stdout: 'off\n' })
    await guarded.instance.restartAgent()
  })

  test('rules from before the agent are recorded when they redirect the first connection', async () => {
    await guarded.lockdown('on', '--before-agent')
    expect(await known()).toEqual({ state: 'unknown', redirected: 0 })
    await guarded.curl(APP, `${SERVICE}/latest/`)
    await recorded('lockdown.on', 'enforce: seen by a redirected connection')
    const { state, redirected } = await known()
    expect({ state, redirected }).toEqual({ state: 'enforce', redirected: 1 })
    const words = await guarded.metabind(['status'])
    expect(words).toContain('lockdown  enforce, redirected connections: 1')
  })

  test('what is no change is refused', async () => {
    const body = ['-H', 'content-type: application/json', '-d', '{"change":"on","mode":"none"}']
    const url = 'http://agent/metabind/v1/lockdown'
    const socket = ['--unix-socket', guarded.instance.adminSocket]
    expect(await guarded.curl(undefined, ...socket, ...body, url)).toContain('ADMIN_REQUEST')
  })
})
