import { chmod, chown, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { APP, type Guarded, startGuarded } from '../harness/guarded.ts'
import { CLI } from '../harness/programs.ts'
import { type Application, startApplication } from './application.ts'

/** The unmodified @alicloud/credentials under lockdown, tokens required by the service. */

const isRoot = process.getuid?.() === 0
const IMDS = { ALIBABA_CLOUD_ECS_METADATA: 'app-role' }
const FROM_AGENT = {
  accessKeyId: expect.stringMatching(/^STS\./),
  securityToken: expect.any(String),
}

let guarded: Guarded
const applications: Application[] = []

function application(env: Record<string, string> = {}, through: string[] = []): Application {
  const started = startApplication(guarded.networks, APP, env, through)
  applications.push(started)
  return started
}

// The log is written in the background.
const LOG_MS = 300

/** Tokens made, credentials read and refusals, from now on. */
async function auditFromNow() {
  await sleep(LOG_MS)
  const known = guarded.instance.agent.records.length
  return () =>
    guarded.instance.agent.records
      .slice(known)
      .filter(({ audit }) => audit === true)
      .map(({ event }) => event)
}

describe.skipIf(!isRoot)('@alicloud/credentials', () => {
  beforeAll(async () => {
    guarded = await startGuarded()
    await guarded.lockdown('on')
  })
  afterEach(async () => {
    await Promise.all(applications.splice(0).map((one) => one.end()))
  })
  afterAll(() => guarded?.stop())

  test("with the source down before anything was read it fails by the agent's word; then it works", async () => {
    const role = { type: 'ecs_ram_role', roleName: 'app-role' }
    await guarded.cloud.stop()
    const app = application()
    const strict = await app.credentials({ ...role, disableIMDSv1: true })
    // Without a token as its last attempt, it hides the 503 behind the refusal of that.
    const lax = await app.credentials(role)
    await guarded.cloud.start()
    expect(strict.error).toMatch(/503.*SOURCE_DOWN/)
    expect(lax.error).toMatch(/403.*TOKEN_MISSING/)
    // A source that was silent is not asked again at once.
    const again = expect.poll(() => app.credentials(role), { timeout: 120_000 })
    await again.toMatchObject(FROM_AGENT)
  })

  test('the default chain finds the role, with two tokens', async () => {
    const audited = await auditFromNow()
    const got = await application().credentials(null)
    expect(got).toMatchObject({ ...FROM_AGENT, providerName: 'default/ecs_ram_role' })
    await expect.poll(audited).toEqual(['token.issued', 'token.issued', 'secret.read'])
  })

  test.each([
    ['a role given by configuration', {}, { type: 'ecs_ram_role', roleName: 'app-role' }],
    ['a role given by the environment', IMDS, null],
    ['v1 disabled', {}, { type: 'ecs_ram_role', roleName: 'app-role', disableIMDSv1: true }],
  ])('%s: one token', async (_what, env, config) => {
    const audited = await auditFromNow()
    expect(await application(env).credentials(config)).toMatchObject(FROM_AGENT)
    await expect.poll(audited).toEqual(['token.issued', 'secret.read'])
  })

  test('a role that the instance does not have', async () => {
    const got = await application().credentials({ type: 'ecs_ram_role', roleName: 'other-role' })
    expect(got.error).toMatch(/403|404/)
  })

  test('goes on over a restart of the agent', async () => {
    const app = application()
    expect(await app.credentials(null)).toMatchObject(FROM_AGENT)
    await guarded.instance.agent.stop()
    expect((await app.credentials(null)).error).toMatch(/ECONNREFUSED|ECONNRESET/)
    await guarded.instance.restartAgent()
    expect(await app.credentials(null)).toMatchObject(FROM_AGENT)
  })

  test('ten applications at a cold start all get the same credentials', async () => {
    await guarded.instance.restartAgent()
    const got = await Promise.all(
      Array.from({ length: 10 }, () => application(IMDS).credentials(null)),
    )
    expect(got[0]).toMatchObject(FROM_AGENT)
    expect(new Set(got.map(({ securityToken }) => securityToken)).size).toBe(1)
  })

  test('what it says of a refusal has no secret in it', async () => {
    await guarded.instance.restartAgent()
    const app = application()
    const { error } = await app.credentials({ type: 'ecs_ram_role', roleName: 'other-role' })
    expect(error).toMatch(/(METADATA_ABSENT|TOKEN_MISSING|POLICY_[A-Z]+): |40[34]/)
    expect(error).not.toMatch(/[A-Za-z0-9_-]{86}/)
  })

  describe('by credentials URL', () => {
    test('given in the configuration', async () => {
      const url = (await guarded.metabind(['credential', '--uri'], APP)).trim()
      const got = await application().credentials({ type: 'credentials_uri', credentialsURI: url })
      expect(got).toMatchObject(FROM_AGENT)
    })

    test('in the default chain, under metabind exec', async () => {
      const socket = { METABIND_SOCKET: guarded.instance.metadataSocket }
      const app = application(socket, [process.execPath, CLI, 'exec', '--'])
      expect(await app.credentials(null)).toMatchObject({
        ...FROM_AGENT,
        providerName: 'default/credential_uri',
      })
    })

    test('in the environment, under metabind exec --with env', async () => {
      const socket = { METABIND_SOCKET: guarded.instance.metadataSocket }
      const app = application(socket, [process.execPath, CLI, 'exec', '--with', 'env', '--'])
      expect(await app.credentials(null)).toMatchObject({
        ...FROM_AGENT,
        providerName: 'default/env',
      })
    })
  })

  describe('by an External profile', () => {
    /** A home whose SDK configuration runs `metabind credential`. */
    async function homeWith(name: string, owner: number): Promise<{ home: string; file: string }> {
      const home = join(guarded.directory, name)
      const file = join(home, '.aliyun', 'config.json')
      await mkdir(join(home, '.aliyun'), { recursive: true })
      const socket = `--socket ${guarded.instance.metadataSocket}`
      const command = `${process.execPath} ${CLI} credential app-role ${socket}`
      const profile = { name: 'metabind', mode: 'External', process_command: command }
      await writeFile(file, JSON.stringify({ current: 'metabind', profiles: [profile] }))
      await chmod(file, 0o644)
      await chown(home, APP, APP)
      await chown(file, owner, owner)
      return { home, file }
    }

    test("root's read-only configuration gives credentials and stays clean", async () => {
      const { home, file } = await homeWith('clean', 0)
      const before = await readFile(file, 'utf8')
      const got = await application({ HOME: home }).credentials(null)
      expect(got).toMatchObject({ ...FROM_AGENT, providerName: 'default/cli_profile' })
      expect(await readFile(file, 'utf8')).toBe(before)
    })

    test("the user's own gets the secret written into it, which doctor reports", async () => {
      const { home, file } = await homeWith('dirty', APP)
      const got = await application({ HOME: home }).credentials(null)
      expect(await readFile(file, 'utf8')).toContain(got.accessKeySecret)
      const args = ['env', `HOME=${home}`, process.execPath, CLI, 'doctor', '--json']
      const said = await guarded.networks.inHost(APP, ...args).catch((error) => error.stdout)
      const ids = JSON.parse(said).findings.map(({ id }: { id: string }) => id)
      expect(ids).toContain('sdk-configuration-writable')
      expect(ids).toContain('sdk-secret-on-disk')
      expect(said).not.toContain(got.accessKeySecret)
    })
  })
})
