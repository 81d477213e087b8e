import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, type TestContext, test } from 'vitest'
import { curlAs } from '../harness/as-uid.ts'
import { type HandedOn, handOn } from '../harness/handed-on.ts'
import { connectionsOpen } from '../harness/http.ts'
import { type Packaged, startPackaged } from '../harness/packaged.ts'
import { endPeer, startPeer } from '../harness/peer.ts'
import { get, openSession } from '../simulate/request.ts'

/**
 * Callers of whom the agent learns no more than the user, against the agent as packaged: what they do is
 * counted for that user, and root can read whatever they take.
 */

const FIRST = 1001
const SECOND = 1002
const OTHER = 1003
/** The defaults of the configuration, and what of them is root's. */
const CONNECTIONS = 2048
const CONNECTIONS_PER_UID = 1024
const KEPT_FOR_ROOT = 64

let packaged: Packaged
let held: HandedOn[]

beforeEach(async (context: TestContext) => {
  held = []
  packaged = await startPackaged(context)
})

afterEach(async () => {
  for (const one of held) await one.end()
  await packaged?.stop()
})

const socketPath = () => packaged.instance.metadataSocket

async function takeAs(uid: number, count: number): Promise<HandedOn> {
  const taken = await handOn({ uid }, socketPath(), count, packaged.instance.agent.child)
  held.push(taken)
  return taken
}

const admitted = () => connectionsOpen(packaged.instance.adminSocket)

async function rootReads(): Promise<void> {
  const base = `unix:${socketPath()}`
  for (let round = 0; round < 10; round += 1) {
    const token = await openSession(base)
    expect(await get(base, '/latest/meta-data/instance-id', token)).toMatchObject({ status: 200 })
  }
}

describe('connections that were handed on by processes that have ended', () => {
  test('are as many as one user may have, and others get theirs', async () => {
    const taken = await takeAs(FIRST, CONNECTIONS_PER_UID + 50)
    await expect.poll(admitted).toBe(CONNECTIONS_PER_UID)
    expect((await curlAs(OTHER, socketPath(), '/')).status).toBe(403)
    await rootReads()
    expect(await taken.ask(0)).toBe(403)
    const record = await packaged.instance.agent.until(({ code }) => code === 'CALLER_UNKNOWN')
    expect(record).toMatchObject({ audit: true, event: 'request.refused', uid: FIRST })
    expect(record).not.toHaveProperty('caller')
  }, 60_000)

  test('of two users take all but those that are kept for root, and root reads on', async () => {
    await takeAs(FIRST, CONNECTIONS_PER_UID)
    await takeAs(SECOND, CONNECTIONS_PER_UID)
    await expect.poll(admitted).toBe(CONNECTIONS - KEPT_FOR_ROOT)
    const refused = async () => (await curlAs(OTHER, socketPath(), '/')).body
    await expect.poll(refused).toMatch(/^LIMIT_CONNECTIONS: /)
    await rootReads()
    // All that are kept, at once.
    const base = `unix:${socketPath()}`
    const answers = await Promise.all(
      Array.from({ length: KEPT_FOR_ROOT }, () => get(base, '/latest/meta-data/')),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array(KEPT_FOR_ROOT).fill(403))
    expect(await admitted()).toBeGreaterThanOrEqual(CONNECTIONS - KEPT_FOR_ROOT)
  }, 60_000)

  test('wait for their answers once they were refused too often', async () => {
    const taken = await takeAs(FIRST, 20)
    // A user is refused 200 times at once; the others of these wait for a tenth of a second.
    expect(await taken.burst(20, 16)).toBeGreaterThanOrEqual(100)
    await rootReads()
  }, 60_000)

  test('fill no log: their user has its records, the rest are counted, and root has its own', async () => {
    const taken = await takeAs(FIRST, 300)
    for (let round = 0; round < 3; round += 1) await taken.burst(300, 1)
    const base = `unix:${socketPath()}`
    expect(await get(base, '/latest/meta-data/', 'wrong')).toMatchObject({ status: 401 })
    const { agent } = packaged.instance
    const roots = await agent.until(({ event }) => event === 'token.refused')
    expect(roots).toMatchObject({ audit: true, caller: { uid: 0 } })
    const counted = await agent.until(({ event }) => event === 'audit.suppressed')
    expect(counted).toMatchObject({ uid: FIRST, suppressed: expect.any(Number) })
    // Of 900; 200 are written at once, and 20 a second.
    const written = agent.records.filter(({ event }) => event === 'request.refused')
    expect(written.length).toBeLessThan(900)
  }, 60_000)
})

describe('a process in 65,536 groups', () => {
  const CONNECT = `import os,resource,socket,sys
path, uid, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
os.setgroups(range(100000, 165536)); os.setgid(uid); os.setuid(uid)
held = [socket.socket(socket.AF_UNIX) for _ in range(count)]
for one in held: one.connect(path)
held[0].sendall(b'GET /metabind/v1/whoami HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
answer = held[0].recv(65536)
print(answer.split(b'\\r\\n\\r\\n')[1].decode(), flush=True)
sys.stdin.read()`

  test('is identified, and takes no more than its share', async () => {
    const peer = startPeer(CONNECT, [socketPath(), String(FIRST), String(CONNECTIONS)])
    held.push({ ask: async () => 0, burst: async () => 0, end: () => endPeer(peer) })
    const [said] = await once(peer.stdout ?? peer, 'data')
    expect(String(said)).toMatch(/^TOKEN_MISSING: /)
    // Those of which all groups are remembered count for 257 each, the others for one.
    await expect.poll(admitted).toBeGreaterThan(100)
    expect(await admitted()).toBeLessThan(CONNECTIONS_PER_UID - 257)
    expect((await curlAs(OTHER, socketPath(), '/')).status).toBe(403)
    await rootReads()
    expect(await packaged.cgroup.kills()).toBe(0)
  }, 60_000)
})
