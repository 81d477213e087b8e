import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { readStream } from '../../src/page/stream.ts'
import { UI_SERVER_HEADER } from '../../src/ui-paths.ts'

/** What one reads of a server that shows this secret, for a page that knows another or the same one. */
async function readOf(shown: string | undefined, known: string) {
  const server = createServer((_request, response) => {
    if (shown !== undefined) response.setHeader(UI_SERVER_HEADER, shown)
    response.end('data: {"says":"all is well"}\n\n')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const data: string[] = []
  const end = await readStream(`http://127.0.0.1:${port}/`, {}, known, (text) => data.push(text))
  server.closeAllConnections()
  server.close()
  return { end, data }
}

test('a stream of the server that the page was opened from is read', async () => {
  expect(await readOf('secret', 'secret')).toEqual({
    end: 'lost',
    data: ['{"says":"all is well"}'],
  })
})

test.each([
  ['another secret', 'other', 'secret'],
  ['none', undefined, 'secret'],
  ['an empty one to a page that has none', '', ''],
])('nothing is read of whoever listens on its port later: it shows %s', async (_, shown, known) => {
  expect(await readOf(shown, known)).toEqual({ end: 'refused', data: [] })
})
