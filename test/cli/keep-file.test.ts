import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { keepFile, waitMs } from '../../src/cli/keep-file.ts'
import { runNode, scratch } from '../harness/metabind.ts'
import { CLI } from '../harness/programs.ts'

test('a file is looked at again at half of what is left of its token, within bounds', () => {
  expect(waitMs(1000, 100_000)).toBe(450_000)
  // One that is over, or a clock that is wrong.
  expect(waitMs(1, 100_000)).toBe(5000)
  expect(waitMs(1_000_000, 0)).toBe(3_600_000)
})

describe('what is no token', () => {
  const stack = new AsyncDisposableStack()
  let at: (name: string) => string
  beforeAll(async () => {
    const { path } = stack.use(await scratch())
    at = (name) => join(path, name)
    // Whatever answers there: not an agent that has a registrar.
    const server = createServer((request, response) => {
      if (request.method === 'PUT')
        response.setHeader('x-aliyun-ecs-metadata-token-ttl-seconds', '60')
      response.end('no-token')
    })
    await new Promise<void>((resolve) => server.listen(at('socket'), resolve))
    stack.defer(() => void server.close())
  })
  afterAll(() => stack.disposeAsync())

  test.each(['--keep', '--json'])('is not written into a file: %s', async (more) => {
    const file = at(`file${more}`)
    const args = ['federate', 'token', '--audience', 'a', '--out', file, '--socket', at('socket')]
    const { code, stderr } = await runNode([CLI, ...args, more])
    expect([code, stderr]).toEqual([1, expect.stringContaining('SOCKET_NO_TOKEN: What was given')])
    expect(existsSync(file)).toBe(false)
  })

  test('leaves the last one where it is, and is asked for again', async () => {
    const token = (exp: number) =>
      `x.${Buffer.from(JSON.stringify({ exp })).toString('base64url')}.x`
    const [first, later] = [token(1), token(2)]
    const answers = ['no-token', 'no-token', later]
    const file = at('kept')
    writeFileSync(file, first)
    const seen: string[] = []
    const ending = new AbortController()
    const fetchToken = async (): Promise<string> => {
      seen.push(readFileSync(file, 'utf8'))
      const next = answers.shift()
      if (next !== undefined) return next
      ending.abort()
      return later
    }
    await keepFile(file, first, fetchToken, ending.signal)
    expect(seen).toEqual([first, first, first, later])
  })
})
