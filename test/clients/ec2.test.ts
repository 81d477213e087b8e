import { chown, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { APP, LISTENERS, OTHER } from '../harness/guarded.ts'
import { CLI } from '../harness/programs.ts'
import {
  type AwsClients,
  type Got,
  isDebianWithAwscli,
  isDebianWithBotocore,
  SERVICE,
  startAws,
} from './aws.ts'
import type { LineProcess } from './line-process.ts'

/** The unmodified clients of EC2's metadata service under lockdown, tokens required by the service. */

const isRoot = process.getuid?.() === 0
const ROLES = '/latest/meta-data/iam/security-credentials'
const IMDS = { client: 'imds' }
const CHAIN = { client: 'chain' }
const METADATA = { client: 'metadata', path: '/latest/meta-data/instance-id' }
const CREDENTIALS = {
  accessKeyId: expect.stringMatching(/^ASIA/),
  secretAccessKey: expect.any(String),
  sessionToken: expect.any(String),
}
/** On a busy machine the service is slow: agent and clients wait, where they would else give up after a second. */
const PATIENT_AGENT = `${LISTENERS}[source]\nconnect_timeout_ms = 20000\ntimeout_ms = 20000\n`
const PATIENT_IMDS = { ...IMDS, timeout: 30_000 }
const PATIENT = { env: { AWS_METADATA_SERVICE_TIMEOUT: '30' } }
const TTL = ['-X', 'PUT', '-H', 'X-aws-ec2-metadata-token-ttl-seconds: 60']

let aws: AwsClients
let javascript: LineProcess<Got>
let botocore: LineProcess<Got> | undefined

/** curl as the application: a token, and a read with it. */
async function curl(path: string): Promise<string> {
  const token = await aws.guarded.curl(APP, ...TTL, `${SERVICE}/latest/api/token`)
  const carried = ['-H', `X-aws-ec2-metadata-token: ${token}`]
  return aws.guarded.curl(APP, ...carried, `${SERVICE}${path}`)
}

/** As the service itself says it. */
function fromService(said: string): Got {
  const { AccessKeyId, SecretAccessKey, Token } = JSON.parse(said)
  return { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token }
}

describe.skipIf(!isRoot)('clients of EC2', () => {
  beforeAll(async () => {
    aws = await startAws(PATIENT_AGENT)
    await aws.guarded.lockdown('on')
    javascript = aws.open('javascript')
    botocore = isDebianWithBotocore ? aws.open('botocore') : undefined
  })
  afterAll(() => aws?.stop())

  test('the clients of the distribution take part', (context) => {
    if (!isDebianWithBotocore)
      context.skip('python3-botocore is not installed: the rest runs without')
    if (!isDebianWithAwscli) context.skip('awscli is not installed: the rest runs without')
  })

  test("with the source down before anything was read all fail, by the agent's word", async () => {
    await aws.guarded.cloud.stop()
    expect(await javascript.ask(IMDS)).toMatchObject({ status: 503 })
    expect(
      await javascript.ask({ ...METADATA, path: '/latest/meta-data/hostname', retries: 0 }),
    ).toMatchObject({ status: 503 })
    if (botocore !== undefined)
      expect(await botocore.ask(CHAIN)).toEqual({ error: 'no credentials' })
    await aws.guarded.cloud.start()
    // A source that was silent is not asked again at once.
    const again = expect.poll(() => curl('/latest/meta-data/placement/region'), {
      timeout: 120_000,
    })
    await again.toBe('eu-central-1')
  })

  test('a cold start of all at once: the same credentials, one read of the service a path', async () => {
    // Nothing is cached, and nothing held back for what failed before.
    await aws.guarded.instance.restartAgent()
    const apps = [1, 2, 3].map(() => aws.open('javascript'))
    // Running, so that they ask at the same time; the service takes its own.
    await Promise.all(apps.map((app) => app.ask(METADATA)))
    const python = botocore === undefined ? undefined : aws.open('botocore', PATIENT)
    await aws.guarded.cloud.fault({ kind: 'latency', ms: 150 })
    await aws.guarded.cloud.requests()
    const started = [
      ...apps.map((app) => app.ask(PATIENT_IMDS)),
      ...(python === undefined ? [] : [python.ask(CHAIN)]),
      ...(isDebianWithAwscli ? [aws.awscli(PATIENT)] : []),
      curl(`${ROLES}/app-role`).then(fromService),
    ]
    const got = await Promise.all(started)
    for (const one of got) expect(one).toMatchObject(CREDENTIALS)
    expect(new Set(got.map(({ sessionToken }) => sessionToken)).size).toBe(1)
    await aws.guarded.cloud.fault(undefined)
    const reads = (await aws.guarded.cloud.requests()).filter(({ method }) => method === 'GET')
    expect(reads.map(({ target }) => target).sort()).toEqual([`${ROLES}/`, `${ROLES}/app-role`])
  })

  test('the path with two slashes is answered, and curl', async () => {
    expect((await javascript.ask(METADATA)).value).toBe('i-bp1guarded')
    expect(await curl('/latest/meta-data/instance-id')).toBe('i-bp1guarded')
  })

  test.skipIf(!isDebianWithBotocore)('botocore finds the region', async () => {
    expect((await botocore?.ask({ client: 'region' }))?.value).toBe('eu-central-1')
  })

  test('with the source down later all go on', async () => {
    await aws.guarded.cloud.stop()
    expect(await javascript.ask({ ...IMDS, new: 1 })).toMatchObject(CREDENTIALS)
    if (botocore !== undefined) expect(await botocore.ask(CHAIN)).toMatchObject(CREDENTIALS)
    expect((await javascript.ask(METADATA)).value).toBe('i-bp1guarded')
    await aws.guarded.cloud.start()
  })

  test('over a restart of the agent: who holds credentials goes on, others fail until it is back', async () => {
    await javascript.ask(IMDS)
    await aws.guarded.instance.agent.stop()
    expect(await javascript.ask(IMDS)).toMatchObject(CREDENTIALS)
    expect((await javascript.ask({ ...IMDS, new: 2 })).error).toMatch(/Unable to connect/)
    if (botocore !== undefined)
      expect(await botocore.ask(CHAIN)).toEqual({ error: 'no credentials' })
    // It repeats by itself, so that a restart of the agent in that time is not noticed.
    const asked = javascript.ask({ ...METADATA, retries: 20, backoff: 0.5 })
    await aws.guarded.instance.restartAgent()
    expect((await asked).value).toBe('i-bp1guarded')
    expect(await javascript.ask({ ...IMDS, new: 2 })).toMatchObject(CREDENTIALS)
    if (botocore !== undefined) expect(await botocore.ask(CHAIN)).toMatchObject(CREDENTIALS)
  })

  test('whom the policy denies gets metadata and no credentials', async () => {
    const other = aws.open('javascript', { uid: OTHER })
    expect(await other.ask(IMDS)).toMatchObject({ status: 403 })
    expect((await other.ask(METADATA)).value).toBe('i-bp1guarded')
  })

  test('the endpoint setting does not lead to the agent: its listener is for redirected callers', async () => {
    const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://127.0.0.1:9180' }
    const got = await aws.open('javascript', { env }).ask(IMDS)
    expect(got.error).toMatch(/Unable to connect/)
    if (isDebianWithBotocore) {
      expect(await aws.open('botocore', { env }).ask(CHAIN)).toEqual({ error: 'no credentials' })
    }
  })

  describe('where they can be configured', () => {
    const exec = (...flags: string[]) => ({
      env: { METABIND_SOCKET: aws.guarded.instance.metadataSocket },
      through: [process.execPath, CLI, 'exec', ...flags, '--'],
    })

    const urlOf = async () => ({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: (
        await aws.guarded.metabind(['credential', '--uri'], APP)
      ).trim(),
    })

    test('by credentials URL, under metabind exec', async () => {
      const app = aws.open('javascript', exec())
      expect(await app.ask({ client: 'http' })).toMatchObject(CREDENTIALS)
      expect(await app.ask({ client: 'container' })).toMatchObject(CREDENTIALS)
    })

    test('botocore by credentials URL', async (context) => {
      if (!isDebianWithBotocore) context.skip('python3-botocore is not installed')
      const got = await aws.open('botocore', { env: await urlOf() }).ask(CHAIN)
      expect(got).toMatchObject({ ...CREDENTIALS, method: 'container-role' })
    })

    test('the AWS CLI by credentials URL', async (context) => {
      if (!isDebianWithAwscli) context.skip('awscli is not installed')
      const env = { ...(await urlOf()), AWS_EC2_METADATA_DISABLED: 'true' }
      expect(await aws.awscli({ env })).toMatchObject(CREDENTIALS)
    })

    test('in the environment, under metabind exec --with env', async (context) => {
      if (!isDebianWithBotocore) context.skip('python3-botocore is not installed')
      const got = await aws.open('botocore', exec('--with', 'env')).ask(CHAIN)
      expect(got).toMatchObject({ ...CREDENTIALS, method: 'env' })
    })

    test('botocore by a credential_process, whose output it does not write to disk', async (context) => {
      if (!isDebianWithBotocore) context.skip('python3-botocore is not installed')
      const home = await homeWithProcess()
      const got = await aws.open('botocore', { env: { HOME: home } }).ask(CHAIN)
      expect(got).toMatchObject({ ...CREDENTIALS, method: 'custom-process' })
      expect(await filesWith(home, got.secretAccessKey ?? '')).toEqual([])
    })

    test('the AWS CLI by a credential_process, whose output it does not write to disk', async (context) => {
      if (!isDebianWithAwscli) context.skip('awscli is not installed')
      const home = await homeWithProcess()
      const got = await aws.awscli({ env: { HOME: home, AWS_EC2_METADATA_DISABLED: 'true' } })
      expect(got).toMatchObject(CREDENTIALS)
      expect(await filesWith(home, got.secretAccessKey ?? '')).toEqual([])
    })

    /** A home that is its user's own, with a profile that runs `metabind credential`. */
    async function homeWithProcess(): Promise<string> {
      const home = join(aws.guarded.directory, 'home')
      const config = join(home, '.aws', 'config')
      await mkdir(join(home, '.aws'), { recursive: true })
      const socket = `--socket ${aws.guarded.instance.metadataSocket}`
      const command = `${process.execPath} ${CLI} credential ${socket}`
      await writeFile(config, `[default]\ncredential_process = ${command}\n`)
      for (const path of [home, join(home, '.aws'), config]) await chown(path, APP, APP)
      return home
    }
  })
})

/** The files below a directory that have a text in them. */
async function filesWith(directory: string, text: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name))
  expect(files).not.toEqual([])
  const contents = await Promise.all(files.map((file) => readFile(file, 'latin1')))
  return files.filter((_file, at) => contents[at]?.includes(text))
}
