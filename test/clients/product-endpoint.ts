import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

/** Stand-ins of the endpoints of products: they answer who signs with the credentials that are good now. */
export interface ProductEndpoint {
  /** HOST:PORT, by HTTP. */
  readonly address: string
  /** What was found in each request, in their order: `good`, or the code of the refusal. */
  readonly found: readonly string[]
  close(): Promise<void>
}

/** Credentials as the metadata service has them. */
export interface Expected {
  readonly AccessKeyId: string
  readonly AccessKeySecret: string
  readonly SecurityToken: string
}

interface Product {
  judge(request: IncomingMessage, body: Buffer, expected: Expected): string
  readonly contentType: string
  readonly answer: string
  refusal(code: string): string
}

const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex')

const headerOf = ({ headers }: IncomingMessage, name: string) => String(headers[name] ?? '')

/** Signature version 3 of Alibaba Cloud's APIs, ACS3-HMAC-SHA256. */
function judgeAcs3(request: IncomingMessage, body: Buffer, expected: Expected): string {
  const header = (name: string) => headerOf(request, name)
  const [, keyId, signed = '', signature] =
    /^ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([\da-f]+)$/.exec(
      header('authorization'),
    ) ?? []
  if (keyId !== expected.AccessKeyId) return 'InvalidAccessKeyId'
  if (header('x-acs-security-token') !== expected.SecurityToken) return 'InvalidSecurityToken'
  if (!signed.split(';').includes('x-acs-security-token')) return 'SecurityTokenNotSigned'
  const { pathname, searchParams } = new URL(request.url ?? '', 'http://product')
  searchParams.sort()
  const lines = signed.split(';').map((name) => `${name}:${header(name).trim()}\n`)
  const canonical = [request.method, pathname, searchParams, lines.join(''), signed, sha256(body)]
  const hmac = createHmac('sha256', expected.AccessKeySecret)
  const text = `ACS3-HMAC-SHA256\n${sha256(canonical.join('\n'))}`
  return signature === hmac.update(text).digest('hex') ? 'good' : 'SignatureDoesNotMatch'
}

/** Signature version 1 of OSS, for a request of the service itself. */
function judgeOss1(request: IncomingMessage, _body: Buffer, expected: Expected): string {
  const header = (name: string) => headerOf(request, name)
  const [, keyId, signature] = /^OSS ([^:]+):(.+)$/.exec(header('authorization')) ?? []
  if (keyId !== expected.AccessKeyId) return 'InvalidAccessKeyId'
  if (header('x-oss-security-token') !== expected.SecurityToken) return 'InvalidSecurityToken'
  const names = Object.keys(request.headers).filter((name) => name.startsWith('x-oss-'))
  const lines = names.sort().map((name) => `${name}:${header(name)}`)
  const text = [
    request.method,
    header('content-md5'),
    header('content-type'),
    header('date'),
    ...lines,
    '/',
  ]
  const hmac = createHmac('sha1', expected.AccessKeySecret)
  return signature === hmac.update(text.join('\n')).digest('base64')
    ? 'good'
    : 'SignatureDoesNotMatch'
}

export const PRODUCTS = {
  ecs: {
    judge: judgeAcs3,
    contentType: 'application/json',
    answer: JSON.stringify({
      RequestId: 'a',
      Regions: { Region: [{ RegionId: 'cn-hangzhou' }, { RegionId: 'cn-beijing' }] },
    }),
    refusal: (code) => JSON.stringify({ RequestId: 'a', Code: code, Message: code }),
  },
  oss: {
    judge: judgeOss1,
    contentType: 'application/xml',
    answer: `<ListAllMyBucketsResult><Buckets><Bucket><Name>one</Name></Bucket>
<Bucket><Name>two</Name></Bucket></Buckets></ListAllMyBucketsResult>`,
    refusal: (code) => `<Error><Code>${code}</Code></Error>`,
  },
} as const satisfies Record<string, Product>

export async function openProductEndpoint(
  { judge, contentType, answer, refusal }: Product,
  expected: Expected,
): Promise<ProductEndpoint> {
  const found: string[] = []
  const server = createServer(async (request, response) => {
    const code = judge(request, await buffer(request), expected)
    found.push(code)
    const isGood = code === 'good'
    response.writeHead(isGood ? 200 : 403, { 'Content-Type': contentType })
    response.end(isGood ? answer : refusal(code))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // The one kind of address that a TCP server has.
  const { port } = server.address() as AddressInfo
  return {
    address: `127.0.0.1:${port}`,
    found,
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
