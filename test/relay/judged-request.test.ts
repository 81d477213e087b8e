import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { rememberCaller } from '../../src/caller/connection.ts'
import { type JudgedRequest, judge } from '../../src/relay/judged-request.ts'
import { readHeaders } from '../../src/relay/request-rules.ts'
import { DIALECT as dialect } from '../harness/relay-parts.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const caller = { pid: 1, uid: 1001, gid: 1001, groups: [], namespaces: [] }
let scratch: Awaited<ReturnType<typeof scratchDirectory>>
const server = createServer()

beforeAll(async () => {
  scratch = await scratchDirectory()
  server.listen(`${scratch.path}/s`)
  await once(server, 'listening')
})
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await scratch[Symbol.asyncDispose]()
})

async function incomingOf(head: string): Promise<IncomingMessage> {
  const peer = connect(`${scratch.path}/s`)
  peer.write(`${head} HTTP/1.1\r\nHost: x\r\n\r\n`)
  const [incoming]: IncomingMessage[] = await once(server, 'request')
  if (incoming === undefined) throw new Error('no request')
  return incoming
}

const headersOf = (incoming: IncomingMessage) => readHeaders(incoming.rawHeaders, dialect)

test('a request of a caller that nobody can name is refused before all else', async () => {
  const incoming = await incomingOf('GET /../x?y')
  expect(() => judge('x-1', incoming, headersOf(incoming), { dialect })).toThrow(
    expect.objectContaining({ code: 'CALLER_UNKNOWN' }),
  )
})

test('what is judged is what was asked, by whom, in canonical form', async () => {
  const incoming = await incomingOf('DELETE /latest//meta-data/')
  rememberCaller(incoming.socket, caller)
  const headers = headersOf(incoming)
  expect(judge('x-1', incoming, headers, { dialect })).toEqual({
    ...{ id: 'x-1', method: 'DELETE', caller, headers, wantsFresh: false },
    target: { path: '/latest/meta-data', query: undefined },
  })
})

test('a listener of another form makes of it what is answered', async () => {
  const incoming = await incomingOf('GET /of-another-form')
  rememberCaller(incoming.socket, caller)
  const given: JudgedRequest[] = []
  const answered = { ...caller, uid: 7 }
  const rewrite = (request: JudgedRequest) => {
    given.push(request)
    return { ...request, caller: answered }
  }
  const judged = judge('x-1', incoming, headersOf(incoming), { dialect, rewrite })
  expect(given).toMatchObject([{ id: 'x-1', target: { path: '/of-another-form' }, caller }])
  expect(judged.caller).toBe(answered)
})
