/**
 * The way to the metadata service is somebody else's. It passes everything on but the identity document, for which it hands
 * out a genuine one: of another instance for this nonce, and of this instance for another nonce.
 */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startSimulator } from '../../src/simulate/simulator.ts'
import { anew, ownAgent, whileServed, whyItWaits } from '../harness/attack.ts'
import { scratch } from '../harness/metabind.ts'

const PKCS7 = '/latest/dynamic/instance-identity/pkcs7'

test('an agent is not ready by the document of another', async (context) => {
  const cloud = await startSimulator({ role: 'demo-role' })
  // The same cloud signs for all of its instances.
  const other = await startSimulator({ role: 'demo-role' })
  const folder = await scratch()
  onTestFinished(() => cloud.close().then(() => other.close()))
  onTestFinished(() => folder[Symbol.asyncDispose]())
  const certificate = join(folder.path, 'cloud.pem')
  await writeFile(certificate, cloud.certificatePem)
  const way = await startWay(cloud.url)
  const packaged = await ownAgent(context, {
    source: way.url,
    config: `source.identity_document = "require"
source.identity_certificate = "${certificate}"
source.timeout_ms = 60000
`,
  })
  const seen = way.passed.findLast((url) => url.startsWith(PKCS7)) ?? ''
  for (const [document, code] of [
    [(url: string) => documentOf(other.url, url), 'VERIFY_DOCUMENT_INSTANCE'],
    [() => documentOf(cloud.url, seen), 'VERIFY_DOCUMENT_AUDIENCE'],
  ] as const) {
    way.answerBy(document)
    const agent = await anew(packaged)
    expect(await whyItWaits(agent)).toBe(code)
    expect(agent.records.some(({ msg }) => msg === 'ready')).toBe(false)
    way.answerBy(undefined)
    await agent.ready()
    await whileServed(packaged.instance.metadataSocket, async () => undefined)
    await agent.stop()
  }
})

/** What a cloud says of its own instance. */
async function documentOf(cloudUrl: string, path: string): Promise<string> {
  const headers = { 'X-aliyun-ecs-metadata-token-ttl-seconds': '600' }
  const made = await fetch(`${cloudUrl}/latest/api/token`, { method: 'PUT', headers })
  const token = { 'X-aliyun-ecs-metadata-token': await made.text() }
  return (await fetch(`${cloudUrl}${path}`, { headers: token })).text()
}

/** Passes requests on to the cloud, and answers those for the document itself if it is told how. */
async function startWay(cloudUrl: string) {
  const passed: string[] = []
  let document: ((url: string) => Promise<string>) | undefined
  const server = createServer(async (asked, answer) => {
    const { url = '', method, headers } = asked
    passed.push(url)
    if (url.startsWith(PKCS7) && document !== undefined) {
      answer.end(await document(url))
      return
    }
    const sent = request(`${cloudUrl}${url}`, { method, headers }, (got) => {
      answer.writeHead(got.statusCode ?? 502, got.headers)
      got.pipe(answer)
    })
    asked.pipe(sent)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    url: `http://127.0.0.1:${port}`,
    passed,
    answerBy: (by: typeof document) => {
      document = by
    },
  }
}
