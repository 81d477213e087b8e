import { describe, expect, onTestFinished, type TestContext, test } from 'vitest'
import { curlAs } from '../harness/as-uid.ts'
import { type Flood, floodAs } from '../harness/flood-as.ts'
import { freePort } from '../harness/free-port.ts'
import { makeToken, TOKEN_HEADER, TOKEN_PATH, TTL_HEADER } from '../harness/http.ts'
import { startPackaged } from '../harness/packaged.ts'

/**
 * The agent as packaged, in the memory that its unit gives it, and one user with no right who wants it to
 * run out. Whatever was sent, it is there afterwards, was never ended, and root gets its answer.
 */

const ATTACKER = 61_102
const WHOAMI = '/metabind/v1/whoami'
const SECONDS = 3

/** @param floods what the user does, one after the other; `token` is one of its own */
async function survives(
  context: TestContext,
  floods: (token: string) => readonly Partial<Flood>[],
  config?: string,
): Promise<void> {
  const { instance, directory, cgroup, stop } = await startPackaged(context, { config })
  onTestFinished(stop)
  const { metadataSocket: socket, agent } = instance
  const flood = { socket, connections: 30, seconds: SECONDS, reads: false, request: '', times: 1 }
  for (const more of floods(await tokenOf(ATTACKER, socket))) {
    expect(await floodAs(ATTACKER, directory, { ...flood, ...more })).toBeGreaterThan(0)
    expect([agent.child.exitCode, agent.child.signalCode]).toEqual([null, null])
    expect(await cgroup.kills()).toBe(0)
    const header = `${TOKEN_HEADER}: ${await makeToken(socket)}`
    expect((await curlAs(0, socket, WHOAMI, '-H', header)).status).toBe(200)
  }
}

async function tokenOf(uid: number, socket: string): Promise<string> {
  const asked = await curlAs(uid, socket, TOKEN_PATH, '-XPUT', '-H', `${TTL_HEADER}: 600`)
  return asked.body
}

const get = (...lines: string[]) =>
  [`GET ${WHOAMI} HTTP/1.1`, 'Host: x', ...lines, '', ''].join('\r\n')

describe('one user cannot use up the memory of the agent', { timeout: 120_000 }, () => {
  test('by requests that expect what nobody knows, with answers unread', (context) =>
    survives(context, () => [
      { request: get('Expect: x'), times: 8000 },
      { connections: 300, request: get('Expect: x'), times: 2000 },
    ]))

  test('by requests that wait for a 100 that nobody reads', (context) =>
    survives(context, () => [{ request: get('Expect: 100-continue'), times: 8000 }]))

  test('by requests without a Host, with answers unread', (context) =>
    survives(context, () => [{ request: get().replace('Host: x\r\n', ''), times: 10_000 }]))

  test('by targets that the router gives up on, with answers unread', (context) =>
    survives(context, () => [{ request: get().replace(WHOAMI, '/%'), times: 10_000 }]))

  test('by any of these over TCP', async (context) => {
    const port = await freePort()
    const over = { socket: String(port), connections: 600 }
    const floods = [
      { ...over, request: get('Expect: x'), times: 2000 },
      { ...over, request: get().replace('Host: x\r\n', ''), times: 2000 },
      { ...over, request: get(`X: ${'x'.repeat(7000)}`), times: 16 },
    ]
    const config = `[credentials_uri]\nenabled = true\nport = ${port}\n`
    await survives(context, () => floods, config)
  })

  test('by answers that nobody reads, on as many connections as it gets', (context) =>
    survives(context, (token) => [
      { connections: 2100, request: get(`${TOKEN_HEADER}: ${token}`), times: 75 },
      { connections: 4200, request: get(`${TOKEN_HEADER}: ${token}`), times: 13 },
      { connections: 2100, request: get(`X: ${'x'.repeat(7000)}`), times: 16 },
    ]))
})
