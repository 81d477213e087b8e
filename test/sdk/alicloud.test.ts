import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { CredentialsProvider } from '@alicloud/credentials'
import { alicloudProvider } from 'metabind/alicloud'
import { openClient } from 'metabind/client'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'

// As an application gets it: the package is CommonJS.
const sdk: typeof import('@alicloud/credentials') = createRequire(import.meta.url)(
  '@alicloud/credentials',
)
const Credential = sdk.default
let directory: string
let instance: Instance

beforeAll(async () => {
  directory = await mkdtemp('/tmp/sdk-')
  instance = await startInstance(directory, { role: 'app-role' })
})

afterAll(async () => {
  await instance.stop()
  await rm(directory, { recursive: true, force: true })
})

afterEach(() => vi.useRealTimers())

/** Also says to the compiler that the provider is what the SDK takes. */
const provider = (role?: string): CredentialsProvider =>
  alicloudProvider(openClient({ socket: instance.metadataSocket }), role)

test('the SDK takes the provider and gets the credentials of the role', async () => {
  const expected = await openClient({ socket: instance.metadataSocket }).credentials()
  const model = await new Credential(null, provider()).getCredential()
  expect(model).toMatchObject({
    type: 'metabind',
    providerName: 'metabind',
    accessKeyId: expected.accessKeyId,
    accessKeySecret: expected.accessKeySecret.reveal(),
    securityToken: expected.securityToken.reveal(),
  })
})

test('many calls of the SDK at once are one question to the agent', async () => {
  const issued = () => instance.agent.records.filter(({ event }) => event === 'token.issued').length
  const before = issued()
  const credential = new Credential(null, provider('app-role'))
  const models = await Promise.all(Array.from({ length: 10 }, () => credential.getCredential()))
  expect(new Set(models.map((model) => model.securityToken)).size).toBe(1)
  const asked = () => instance.cloud?.requests.filter(({ target }) => target.endsWith('/app-role'))
  const reads = asked()?.length
  await credential.getCredential()
  expect(asked()?.length).toBe(reads)
  await instance.agent.until(() => issued() > before)
  expect(issued() - before).toBe(1)
})

test('while the agent is away the SDK goes on with living credentials; dead ones are not served', async () => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'] })
  const held = provider()
  const before = await held.getCredentials()
  await instance.agent.stop()
  vi.advanceTimersByTime(61_000)
  expect(await held.getCredentials()).toEqual(before)
  vi.advanceTimersByTime(6 * 3600 * 1000)
  await expect(held.getCredentials()).rejects.toMatchObject({ code: 'SOCKET_ABSENT' })
  vi.useRealTimers()
  await instance.restartAgent()
})

test('a refusal is not papered over with what was held before', async () => {
  const refused = provider('other-role')
  await expect(refused.getCredentials()).rejects.toMatchObject({ code: 'METADATA_ABSENT' })
})
