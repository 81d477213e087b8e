import { once } from 'node:events'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { httpBounds } from '../../src/agent/settings.ts'
import { parseConfig } from '../../src/config.ts'
import { httpServer } from '../../src/http/server.ts'
import { scratchDirectory } from '../harness/scratch.ts'

// More than two kernels' buffers and what Node would keep.
const BODY_BYTES = 8_388_608

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let app: ReturnType<typeof httpServer>
let answer: () => void

beforeEach(async () => {
  scratch = await scratchDirectory()
  const waits = Promise.withResolvers<void>()
  answer = waits.resolve
  app = httpServer(httpBounds(parseConfig([])))
  app.all('/', async () => {
    await waits.promise
    return 'late'
  })
  app.setErrorHandler(async (_error, _request, reply) => {
    await waits.promise
    return reply.send('late')
  })
  await app.listen({ path: `${scratch.path}/s` })
})

afterEach(async () => {
  answer()
  await app.close()
  await scratch[Symbol.asyncDispose]()
})

test.each(['GET /', 'HEAD /', 'PUT /', 'DELETE /', 'GET /%', 'TRACE /'])(
  'the body of a %s is not kept while its answer waits',
  async (request) => {
    const peer = connect(`${scratch.path}/s`)
    const answered = once(peer, 'data')
    const head = `${request} HTTP/1.1\r\nHost: x\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`
    await promisify<string>(peer.write.bind(peer))(head + 'x'.repeat(BODY_BYTES))
    answer()
    expect(String(await answered)).toMatch(/^HTTP\/1\.1 /)
    // What was sent last may still be unread, and the connection is reset then.
    peer.on('error', () => undefined).destroy()
  },
)
