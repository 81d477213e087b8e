import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

/** A stand-in of a product's endpoint: it answers who signs with the credentials that are good now. */
export interface ProductEndpoint {
  /** HOST:PORT, by HTTP. */
  readonly address: string
  /** What each request was answered, in their order. */
  readonly answers: readonly string[]
  close(): Promise<void>
}

/** Credentials as the metadata service has them. */
export interface Expected {
  readonly AccessKeyId: string
  readonly AccessKeySecret: string
  readonly SecurityToken: string
}

const REGIONS = { Region: [{ RegionId: 'cn-hangzhou' }, { RegionId: 'cn-beijing' }] }

export async function openProductEndpoint(expected: Expected): Promise<ProductEndpoint> {
  const answers: string[] = []
  const server = createServer(async (request, response) => {
    const answer = judge(request, await buffer(request), expected)
    answers.push(answer)
    const isGood = answer === 'good'
    response.writeHead(isGood ? 200 : 403, { 'Content-Type': 'application/json' })
    const refusal = { Code: answer, Message: answer }
    response.end(JSON.stringify({ RequestId: 'a', ...(isGood ? { Regions: REGIONS } : refusal) }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // The one kind of address that a TCP server has.
  const { port } = server.address() as AddressInfo
  return {
    address: `127.0.0.1:${port}`,
    answers,
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Signature version 3 of Alibaba Cloud's APIs, as its documentation describes it ("Request body and signature V3"). */
function judge({ method, url = '', headers }: IncomingMessage, body: Buffer, expected: Expected) {
  const header = (name: string) => String(headers[name] ?? '')
  const [, keyId, signed = '', signature] =
    /^ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([\da-f]+)$/.exec(
      header('authorization'),
    ) ?? []
  if (keyId !== expected.AccessKeyId) return 'InvalidAccessKeyId'
  if (header('x-acs-security-token') !== expected.SecurityToken) return 'InvalidSecurityToken'
  if (!signed.split(';').includes('x-acs-security-token')) return 'SecurityTokenNotSigned'
  const { pathname, searchParams } = new URL(url, 'http://product')
  searchParams.sort()
  const lines = signed.split(';').map((name) => `${name}:${header(name).trim()}\n`)
  const canonical = [method, pathname, searchParams, lines.join(''), signed, sha256(body)].join(
    '\n',
  )
  const hmac = createHmac('sha256', expected.AccessKeySecret)
  const wanted = hmac.update(`ACS3-HMAC-SHA256\n${sha256(canonical)}`).digest('hex')
  return signature === wanted ? 'good' : 'SignatureDoesNotMatch'
}
