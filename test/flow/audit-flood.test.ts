import { chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, type TestContext, test } from 'vitest'
import { verifyAudit } from '../../src/audit/verify.ts'
import { floodAs } from '../harness/flood-as.ts'
import { type HandedOn, handOn } from '../harness/handed-on.ts'
import { AGENT_UID, type Packaged, startPackaged } from '../harness/packaged.ts'
import { get, openSession } from '../simulate/request.ts'

/**
 * What one user does to the audit of all, against the agent as packaged: every decision is in the chain, by
 * itself or in a count, and root's are there one by one.
 */

const USER = 1001
/** So often it asks on each of its connections. */
const ROUNDS = 10
const SECRET = '/latest/meta-data/ram/security-credentials/demo-role'

let directory: string
let packaged: Packaged
let held: HandedOn | undefined

beforeEach(async (context: TestContext) => {
  directory = mkdtempSync(join(tmpdir(), 'audit-flood-'))
  if (process.getuid?.() === 0) chownSync(directory, AGENT_UID, AGENT_UID)
  const file = JSON.stringify(join(directory, 'audit.log'))
  packaged = await startPackaged(context, { config: `[audit]\nfile = ${file}\n` })
})

afterEach(async () => {
  await held?.end()
  held = undefined
  await packaged?.stop()
  rmSync(directory, { recursive: true })
})

type Line = Readonly<Record<string, unknown>>

/** The values of all series that begin so. */
async function metric(name: string): Promise<number[]> {
  const { body } = await get(`unix:${packaged.instance.adminSocket}`, '/metabind/v1/metrics')
  const series = body.split('\n').filter((line) => line.startsWith(name) && !line.startsWith('#'))
  return series.map((line) => Number(line.split(' ').at(-1)))
}

const lostRecords = async () => [
  ...(await metric('metabind_audit_lost_total')),
  ...(await metric('metabind_log_lost_total')),
]

/** Ends the agent. @returns the records of its chain, which is whole */
async function recordsAtEnd(): Promise<Line[]> {
  await packaged.instance.agent.stop()
  const lines = readFileSync(join(directory, 'audit.log'), 'latin1').split('\n').slice(0, -1)
  expect(verifyAudit([{ name: 'audit.log', lines }], {})).toMatchObject({
    lost: 0,
    broken: undefined,
  })
  return lines.map((line) => JSON.parse(line))
}

const uidOf = ({ caller, uid }: Line) => (caller as { uid: number } | undefined)?.uid ?? uid
const sumOf = (lines: readonly Line[], of: 'count' | 'suppressed') =>
  lines.reduce((sum, line) => sum + Number(line[of] ?? 1), 0)

/** Root asks for tokens and reads a secret, so often. */
async function rootWorks(times: number): Promise<void> {
  const base = `unix:${packaged.instance.metadataSocket}`
  for (let round = 0; round < times; round += 1) {
    expect(await get(base, SECRET, await openSession(base))).toMatchObject({ status: 200 })
  }
}

test('a flood of refusals of callers that cannot be identified are bounded, counted, and cost root no record', async () => {
  const { agent, metadataSocket } = packaged.instance
  held = await handOn({ uid: USER }, metadataSocket, 400, agent.child)
  const flood = async (of: HandedOn) => {
    for (let round = 0; round < ROUNDS; round += 1) await of.burst(400, 1)
  }
  await Promise.all([flood(held), rootWorks(40)])
  expect(await lostRecords()).toEqual([0, 0])
  const [answered = 0] = await metric('metabind_requests_total{route="none",code="CALLER_UNKNOWN"}')
  expect(answered).toBe(400 * ROUNDS)
  const records = await recordsAtEnd()
  const refused = records.filter(({ event }) => event === 'request.refused')
  const suppressed = records.filter(({ event }) => event === 'audit.suppressed')
  expect(refused.length + sumOf(suppressed, 'suppressed')).toBe(answered)
  // 200 at once and 20 a second, of however long the machine took; without a bound it would be all.
  expect(refused.length).toBeLessThan(answered)
  expect([...refused, ...suppressed].map(uidOf)).toEqual(
    Array(refused.length + suppressed.length).fill(USER),
  )
  for (const event of ['token.issued', 'secret.read']) {
    const ofRoot = records.filter((record) => record.event === event && uidOf(record) === 0)
    expect(ofRoot.every(({ count }) => count === undefined)).toBe(true)
    expect(ofRoot).toHaveLength(40)
  }
}, 90_000)

test('tokens that one user makes without a pause are few lines, and add up', async () => {
  const token =
    'PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aliyun-ecs-metadata-token-ttl-seconds: 60\r\n\r\n'
  const flood = { connections: 500, seconds: 5, reads: true, request: token, times: 10 }
  const socket = packaged.instance.metadataSocket
  await Promise.all([floodAs(USER, packaged.directory, { ...flood, socket }), rootWorks(40)])
  expect(await lostRecords()).toEqual([0, 0])
  const [issued] = await metric('metabind_tokens_issued_total')
  const records = (await recordsAtEnd()).filter(({ event }) => event === 'token.issued')
  const ofUser = records.filter((record) => uidOf(record) === USER)
  expect(sumOf(records, 'count')).toBe(issued)
  expect(sumOf(ofUser, 'count')).toBeGreaterThan(1000)
  expect(ofUser.length).toBeLessThan(sumOf(ofUser, 'count') / 5)
  expect(records.filter((record) => uidOf(record) === 0)).toHaveLength(40)
}, 90_000)
