import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { Duplex } from 'node:stream'
import { connectionOf } from '../../../src/caller/connection.ts'
import { DIALECTS } from '../../../src/dialect/dialects.ts'
import { requireOrder } from '../../../src/http/request-order.ts'
import { judge } from '../../../src/relay/judged-request.ts'
import { parseTtlSeconds, readHeaders } from '../../../src/relay/request-rules.ts'
import { Choices } from '../choices.ts'
import { type StrictRequest, strictRequests } from '../strict-request.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'
import { type ParsedHead, parseWire } from '../wire-parser.ts'

const HEADER_BYTES_MAX = 8192
const dialect = DIALECTS.aliyun
const CALLER = { pid: 1, uid: 0, gid: 0, groups: [0], namespaces: [] }

const LINES = [
  ...[
    'GET /latest/meta-data/instance-id HTTP/1.1',
    'PUT /latest/api/token HTTP/1.1',
    'GET / HTTP/1.0',
  ],
  ...[
    'POST / HTTP/1.1',
    'GET  / HTTP/1.1',
    'GET / HTTP/2.0',
    'GET http://h/ HTTP/1.1',
    'CONNECT h:1 HTTP/1.1',
  ],
  ...[
    'GET /a\tb HTTP/1.1',
    'OPTIONS * HTTP/1.1',
    'GET /%2e%2e HTTP/1.1',
    'HEAD / HTTP/1.1',
    'GET /',
  ],
] as const
const FIELDS = [
  ...[
    'Host: h',
    'Host: other',
    'host:h',
    'Host : h',
    ' Host: h',
    'Content-Length: 0',
    'Content-Length: 5',
  ],
  ...[
    'Content-Length: +5',
    'Content-Length: 5, 5',
    'Content-Length: 05',
    'Transfer-Encoding: chunked',
  ],
  ...[
    'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding: chunked, identity',
    'Transfer-Encoding:\x0bchunked',
  ],
  ...[
    'X-aliyun-ecs-metadata-token: t',
    'X-aliyun-ecs-metadata-token-ttl-seconds: 60',
    'X-Forwarded-For: h',
  ],
  ...[
    'Upgrade: h2c',
    'Connection: upgrade',
    'Connection: close',
    'Expect: 100-continue',
    'Origin: null',
  ],
  ...[
    'Sec-Fetch-Mode: cors',
    'Sec-Fetch-Site: none',
    'Forwarded:',
    'A:\0b',
    'A: \xe9',
    'A:\rb',
    'Trailer: Host',
  ],
] as const
const ENDS = ['\r\n', '\n', '\r', '\r\n ', '\r\n\t'] as const
const BODIES = [
  '',
  'hello',
  '5\r\nhello\r\n0\r\n\r\n',
  '5;a=b\r\nhello\r\n0\r\nHost: t\r\n\r\n',
  '0\r\n\r\n',
  '\r\n',
] as const

export const target: FuzzTarget = {
  execution:
    "the bytes of one connection, read by node:http's parser and judged, and read by RFC 9112",
  bytesMax: 1024,
  turns: 3,
  words: [...['Host: ', '\r\n\r\n', ' HTTP/1.1\r\n', 'chunked', 'Content-Length: '], ...FIELDS],
  seeds: () => [
    asItIs(
      'GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: h\r\nX-aliyun-ecs-metadata-token: t\r\n\r\n',
    ),
    asItIs(
      'PUT /latest/api/token HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n',
    ),
    asItIs(
      'PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n',
    ),
    chosen(0, 2, 0, 0, 1, 14, 0, 0),
    chosen(1, 3, 0, 0, 10, 0, 15, 0, 2),
  ],
  run(input) {
    const choices = new Choices(input)
    const bytes = choices.byte() === CHOSEN ? builtBytes(choices) : choices.rest()
    const strict = strictRequests(bytes)
    const { heads, bodies } = parseWire(bytes, HEADER_BYTES_MAX)
    // A connection of its own, as what was refused ends it.
    const socket = new Duplex()
    connectionOf(socket).caller = CALLER
    for (const [at, head] of heads.entries()) {
      if (!isAccepted(head, socket)) return
      // Without its body nothing is answered that depends on where the next request begins.
      const isWhole = at < bodies.length
      if (isWhole) requireSame(head, bodies[at] ?? '', strict[at])
    }
  },
}

/** Whether the relay would go on to answer it. */
function isAccepted(head: ParsedHead, socket: Duplex): boolean {
  const incoming = { ...head, socket } as unknown as IncomingMessage
  const judged = outcome(() => {
    const headers = readHeaders(head.rawHeaders, dialect)
    requireOrder(incoming, headers)
    return judge('id', incoming, headers, { dialect })
  })
  if (judged.code !== undefined) {
    assert.match(judged.code, /^REQUEST_/)
    return false
  }
  const { headers, target } = judged.value
  const seconds = outcome(() => parseTtlSeconds(headers.ttl, dialect.ttlSecondsMax)).value
  if (seconds !== undefined) assert.equal(String(seconds), headers.ttl)
  assert.ok(target.path.startsWith('/'))
  return head.method !== 'CONNECT'
}

/** Two readers of one connection see one request: nothing can be hidden from either. */
function requireSame(head: ParsedHead, body: string, strict: StrictRequest | undefined): void {
  assert.ok(
    strict !== undefined,
    `accepted, but by RFC 9112 there is no such request: ${JSON.stringify(head)}`,
  )
  assert.equal(head.method, strict.method)
  assert.equal(head.url, strict.target)
  assert.equal(head.httpVersion, strict.version)
  assert.equal(JSON.stringify(head.rawHeaders), JSON.stringify(strict.headers))
  assert.equal(body, strict.body)
}

function builtBytes(choices: Choices): Buffer {
  let text = ''
  while (!choices.isEmpty && text.length < 4096) {
    const end = () => ENDS[Math.max(0, choices.byte() - 250)] ?? '\r\n'
    text += choices.pick(LINES) + end()
    for (let fields = choices.below(8); fields > 0; fields -= 1)
      text += choices.pick(FIELDS) + end()
    text += `\r\n${choices.pick(BODIES)}`
  }
  return Buffer.from(text, 'latin1')
}
