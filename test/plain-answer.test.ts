import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Asked, ask } from '../src/agent-socket.ts'
import { scratch } from './harness/metabind.ts'

/** What clients take from a socket that need not be the agent's. */

const stack = new AsyncDisposableStack()
let directory: string
let made = 0

beforeAll(async () => {
  directory = stack.use(await scratch()).path
})
afterAll(() => stack.disposeAsync())

/** A server that says these pieces, each for itself, whatever it is asked, and then ends. */
async function saying(...pieces: readonly string[]): Promise<{ path: string; heard: string[] }> {
  made += 1
  const path = join(directory, `${made}.sock`)
  const heard: string[] = []
  const server = createServer((socket) => {
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.once('data', async (asked) => {
      heard.push(asked.toString('latin1'))
      for (const piece of pieces) await new Promise((sent) => socket.write(piece, 'latin1', sent))
      socket.end()
    })
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  stack.defer(() => void server.close())
  return { path, heard }
}

const asked: Asked = { method: 'GET', path: '/x' }

test('an answer is taken in whatever pieces it comes', async () => {
  const text = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One:  a b \r\n\r\nhello'
  for (const pieces of [[text], text.split(''), [text.slice(0, 20), text.slice(20)]]) {
    const { path } = await saying(...pieces)
    const answer = await ask(path, asked)
    expect(answer.body.toString()).toBe('hello')
    expect(answer.headers).toEqual({ 'content-length': '5', 'x-one': 'a b' })
  }
})

describe.each([
  ['nothing', ''],
  ['half a head', 'HTTP/1.1 200 OK\r\nContent-Le'],
  ['less than it promises', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello'],
  ['no length', 'HTTP/1.1 200 OK\r\n\r\nhello'],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 5\r\n\r\nhello'],
  ['a length that is none', 'HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello'],
  ['a length beyond every bound', 'HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n'],
  [
    'chunks',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ],
  ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
  ['an older HTTP', 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello'],
  ['a header without a name', 'HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 5\r\n\r\nhello'],
  ['a header on two lines', 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello'],
  ['a head without end', `HTTP/1.1 200 OK\r\n${'X: a\r\n'.repeat(5000)}`],
])('an answer that is %s', (_what, text) => {
  test('is that of no agent', async () => {
    const { path } = await saying(text)
    await expect(ask(path, asked)).rejects.toMatchObject({ code: 'SOCKET_BROKEN' })
  })
})

test('what would not stay in its line is not sent', async () => {
  const { path, heard } = await saying('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  const bad: readonly Asked[] = [
    { ...asked, path: '/x y' },
    { ...asked, path: '/x\r\nX: y' },
    { ...asked, path: '' },
    { ...asked, headers: { 'X-One': 'a\r\nX-Two: b' } },
    { ...asked, headers: { 'X-One: a\r\nX-Two': 'b' } },
  ]
  for (const one of bad) {
    await expect(ask(path, one)).rejects.toMatchObject({
      code: expect.stringMatching(/^REQUEST_/),
    })
  }
  expect(heard).toEqual([])
  await ask(path, asked)
  expect(heard).toEqual(['GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'])
})
