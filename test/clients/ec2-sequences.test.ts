import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { RecordedRequest } from '../../src/simulate/request-log.ts'
import { APP } from '../harness/guarded.ts'
import {
  type AwsClients,
  type Got,
  isDebianWithAwscli,
  isDebianWithBotocore,
  SERVICE,
  startAws,
} from './aws.ts'
import type { LineProcess } from './line-process.ts'

/**
 * What the unmodified clients of EC2's metadata service send, recorded by the service through
 * lockdown in observing mode, if it requires tokens.
 */

const isRoot = process.getuid?.() === 0
const ROLES = '/latest/meta-data/iam/security-credentials/'
const WITH_TOKEN = ['PUT /latest/api/token 200', `GET ${ROLES} 200`, `GET ${ROLES}app-role 200`]
const IMDS = { client: 'imds' }
// By itself it repeats three times, after 1.0, 1.2 and 1.4 s.
const METADATA = { client: 'metadata', path: '/latest/meta-data/instance-id', retries: 0 }

let aws: AwsClients
let javascript: LineProcess<Got>
let clients = 0

/** What differs makes a new client in the application. */
function newClient(of: object): object {
  clients += 1
  return { ...of, number: clients }
}

/** What the service was asked since the last call. */
const sent = async () => (await aws.guarded.cloud.requests()).map(line)
const line = ({ method, target, status }: RecordedRequest) => `${method} ${target} ${status}`

function headerOf({ rawHeaders }: RecordedRequest, name: string): string | undefined {
  const at = rawHeaders.findIndex((header, i) => i % 2 === 0 && header.toLowerCase() === name)
  return at < 0 ? undefined : rawHeaders[at + 1]
}

/** The token request as it should be, and its token on every read. */
async function expectTokenUsed() {
  const [put, ...reads] = await aws.guarded.cloud.requests()
  if (put === undefined) throw new Error('nothing was sent')
  expect(headerOf(put, 'x-aws-ec2-metadata-token-ttl-seconds')).toBe('21600')
  expect(reads.every((one) => headerOf(one, 'x-aws-ec2-metadata-token') !== undefined)).toBe(true)
  return { lines: [put, ...reads].map(line), userAgent: headerOf(put, 'user-agent') }
}

const failPut = (code: number) => aws.guarded.cloud.fault({ kind: 'status', code, method: 'PUT' })

describe.skipIf(!isRoot)('request sequences at EC2 with tokens required', () => {
  beforeAll(async () => {
    aws = await startAws()
    await aws.guarded.lockdown('on', '--observe')
    javascript = aws.open('javascript')
    await aws.guarded.cloud.requests()
  })
  afterEach(async () => {
    await aws.guarded.cloud.fault(undefined)
    await aws.guarded.cloud.requests()
  })
  afterAll(() => aws?.stop())

  describe('@smithy/credential-provider-imds', () => {
    test('one token for both reads, and another the next time', async () => {
      const client = newClient(IMDS)
      await javascript.ask(client)
      const used = await expectTokenUsed()
      expect(used).toEqual({ lines: WITH_TOKEN, userAgent: undefined })
      await javascript.ask(client)
      expect(await sent()).toEqual(WITH_TOKEN)
    })

    test('after a token answer of 400 it gives up', async () => {
      await failPut(400)
      expect(await javascript.ask(newClient(IMDS))).toMatchObject({ status: 400 })
      expect(await sent()).toEqual(['PUT /latest/api/token 400'])
    })

    test.each([401, 403, 404, 405, 503])(
      'after one of %i it reads without, and asks for a token again the next time',
      async (code) => {
        await failPut(code)
        const client = newClient(IMDS)
        expect(await javascript.ask(client)).toMatchObject({ status: 401 })
        expect(await sent()).toEqual([`PUT /latest/api/token ${code}`, `GET ${ROLES} 401`])
        await aws.guarded.cloud.fault(undefined)
        await javascript.ask(client)
        expect(await sent()).toEqual(WITH_TOKEN)
      },
    )

    test('with v1 disabled it does not read without', async () => {
      await failPut(503)
      const app = aws.open('javascript', { env: { AWS_EC2_METADATA_V1_DISABLED: 'true' } })
      expect((await app.ask(IMDS)).error).toMatch(/v1 fallback has been blocked/)
      expect(await sent()).toEqual(['PUT /latest/api/token 503'])
    })
  })

  describe('@aws-sdk/ec2-metadata-service', () => {
    test('a token for each read, whose path begins with two slashes', async () => {
      expect((await javascript.ask(newClient(METADATA))).value).toBe('i-bp1guarded')
      const used = await expectTokenUsed()
      expect(used).toEqual({
        lines: ['PUT /latest/api/token 200', 'GET //latest/meta-data/instance-id 200'],
        userAgent: undefined,
      })
    })

    test.each([400, 401, 503])(
      'after a token answer of %i it reads without, and asks again the next time',
      async (code) => {
        await failPut(code)
        const client = newClient(METADATA)
        expect(await javascript.ask(client)).toMatchObject({ status: 401 })
        expect(await sent()).toEqual([
          `PUT /latest/api/token ${code}`,
          'GET //latest/meta-data/instance-id 401',
        ])
        await aws.guarded.cloud.fault(undefined)
        expect((await javascript.ask(client)).value).toBe('i-bp1guarded')
      },
    )

    test.each([403, 404, 405])('after one of %i it never asks for a token again', async (code) => {
      await failPut(code)
      const client = newClient(METADATA)
      await javascript.ask(client)
      await aws.guarded.cloud.fault(undefined)
      await aws.guarded.cloud.requests()
      expect(await javascript.ask(client)).toMatchObject({ status: 401 })
      expect(await sent()).toEqual(['GET //latest/meta-data/instance-id 401'])
    })

    test('after a refused read it asks for another token', async () => {
      await aws.guarded.cloud.fault({ kind: 'status', code: 401, method: 'GET', times: 1 })
      const got = await javascript.ask(newClient({ ...METADATA, retries: 1, backoff: 0 }))
      expect(got.value).toBe('i-bp1guarded')
      expect(await sent()).toEqual([
        'PUT /latest/api/token 200',
        'GET //latest/meta-data/instance-id 401',
        'PUT /latest/api/token 200',
        'GET //latest/meta-data/instance-id 200',
      ])
    })
  })

  describe.skipIf(!isDebianWithBotocore)(
    'botocore of the distribution, where python3-botocore is installed',
    () => {
      const CHAIN = { client: 'chain' }
      let botocore: LineProcess<Got>
      beforeAll(() => {
        botocore = aws.open('botocore')
      })

      test('one token for both reads; it says who it is', async () => {
        expect(await botocore.ask(CHAIN)).toMatchObject({ method: 'iam-role' })
        const used = await expectTokenUsed()
        expect(used).toEqual({
          lines: WITH_TOKEN,
          userAgent: expect.stringMatching(/^Botocore\/1\./),
        })
      })

      test('the region, from a path that ends with a slash', async () => {
        expect((await botocore.ask({ client: 'region' })).value).toBe('eu-central-1')
        expect(await sent()).toEqual([
          'PUT /latest/api/token 200',
          'GET /latest/meta-data/placement/availability-zone/ 200',
        ])
      })

      test('after a token answer of 400 it gives up', async () => {
        await failPut(400)
        expect((await botocore.ask(CHAIN)).error).toBe('no credentials')
        expect(await sent()).toEqual(['PUT /latest/api/token 400'])
      })

      test('after one of 401, 403, 404, 405 or 503 it reads without, and asks again the next time', async () => {
        for (const code of [401, 403, 404, 405, 503]) {
          await failPut(code)
          expect((await botocore.ask(CHAIN)).error).toBe('no credentials')
          expect(await sent()).toEqual([`PUT /latest/api/token ${code}`, `GET ${ROLES} 401`])
          await aws.guarded.cloud.fault(undefined)
        }
        await botocore.ask(CHAIN)
        expect(await sent()).toEqual(WITH_TOKEN)
      })
    },
  )

  test.skipIf(!isDebianWithAwscli)(
    'the AWS CLI of the distribution, where awscli is installed',
    async () => {
      expect((await aws.awscli()).accessKeyId).toMatch(/^ASIA/)
      const used = await expectTokenUsed()
      expect(used).toEqual({ lines: WITH_TOKEN, userAgent: expect.stringMatching(/^aws-cli\/2\./) })
    },
  )

  test('curl says who it is, and sends no length with an empty PUT', async () => {
    const ttl = ['-X', 'PUT', '-H', 'X-aws-ec2-metadata-token-ttl-seconds: 60']
    const url = `${SERVICE}/latest/api/token`
    const token = await aws.guarded.curl(APP, ...ttl, url)
    const carried = ['-H', `X-aws-ec2-metadata-token: ${token}`]
    await aws.guarded.curl(APP, ...carried, `${SERVICE}/latest/meta-data/instance-id`)
    const requests = await aws.guarded.cloud.requests()
    expect(requests.map(line)).toEqual([
      'PUT /latest/api/token 200',
      'GET /latest/meta-data/instance-id 200',
    ])
    const [put] = requests
    expect(put && headerOf(put, 'user-agent')).toMatch(/^curl\//)
    expect(put && headerOf(put, 'content-length')).toBeUndefined()
  })
})
