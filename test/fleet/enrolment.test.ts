import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decodeLine } from '../../src/audit/chain.ts'
import { decodeRecord } from '../../src/verify/index.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { agentStatus, scratch } from '../harness/metabind.ts'
import { challengeOf, enrol, evidenceOf, newNonce, post } from './enrolling.ts'
import { type RegistrarProcess, startRegistrarProcess, trustOf } from './registrar-process.ts'

/** Instances with agents and TPMs of their own, a registrar as a process, and HTTP between them. */

const stack = new AsyncDisposableStack()
let directory: string
let one: Instance
let other: Instance
let trust: string
beforeAll(async () => {
  directory = stack.use(await scratch()).path
  const start = async (name: string) => {
    const instance = await startInstance(join(directory, name), { certified: true })
    stack.defer(() => instance.stop())
    return instance
  }
  one = await start('one')
  other = await start('other')
  trust = await trustOf(one.directory, other.directory)
})
afterAll(() => stack.disposeAsync())

let count = 0
async function registrarWith(more: string): Promise<RegistrarProcess & AsyncDisposable> {
  count += 1
  const registrar = await startRegistrarProcess(join(directory, `registrar-${count}`), more)
  return Object.assign(registrar, { [Symbol.asyncDispose]: () => registrar.end() })
}

const refusedWith = (code: string) => ({ body: expect.objectContaining({ error: code }) })
// The two simulators of one process sign with one key; documents are of the first one's certificate.
const eventsOf = (registrar: RegistrarProcess) => {
  const database = new DatabaseSync(registrar.database, { readOnly: true })
  const rows = database.prepare('SELECT line FROM events WHERE seq > 1 ORDER BY seq').all()
  database.close()
  return rows.map(({ line }) => decodeLine(String(line))?.record)
}

describe('enrolment', () => {
  test('two round trips, and the registrar knows the instance by what its TPM proved', async () => {
    await using registrar = await registrarWith(trust)
    const { identity } = await agentStatus(one)
    const enrolled = await enrol(one, registrar)
    expect(enrolled).toMatchObject({
      status: 200,
      body: {
        iid: identity?.iid,
        subject: `aliyun:${identity?.instanceId}`,
        state: 'active',
        generation: 1,
        proven: expect.arrayContaining(['ek-genuine', 'ak-in-tpm', 'instance-from-cloud', 'bound']),
      },
    })
    const record = decodeRecord(Buffer.from(JSON.stringify(enrolled.body.record)))
    expect(record.akName).toBe(identity?.akName)
    expect(await enrol(other, registrar)).toMatchObject({ status: 200, body: { generation: 1 } })
    const again = await enrol(one, registrar, { generation: 1 })
    expect(again).toMatchObject({ status: 200, body: { generation: 2 } })
    expect(eventsOf(registrar).map((record) => record?.event)).toEqual([
      'instance.enrolled',
      'instance.enrolled',
    ])
  })

  test('evidence alone is provisional, and a wrong answer enrols nobody', async () => {
    await using registrar = await registrarWith(trust)
    const { answer } = await challengeOf(one, registrar)
    const wrong = { ...(answer as object), secret: Buffer.alloc(32).toString('base64') }
    expect(await post(registrar.origin, '/enrol', { answer: wrong })).toMatchObject({
      status: 403,
      ...refusedWith('VERIFY_ACTIVATION'),
    })
    const unknown = { ...(answer as object), id: 'ab'.repeat(16) }
    expect(await post(registrar.origin, '/enrol', { answer: unknown })).toMatchObject(
      refusedWith('ENROL_CHALLENGE'),
    )
    expect(eventsOf(registrar)).toEqual([])
    expect(await post(registrar.origin, '/enrol', { answer })).toMatchObject({ status: 200 })
  })

  test('evidence for another registrar, for no registrar, or for a nonce of its own is refused', async () => {
    await using registrar = await registrarWith(trust)
    const elsewhere = await challengeOf(one, registrar, { url: 'https://other.example' })
    expect(elsewhere).toMatchObject({ status: 403, ...refusedWith('VERIFY_BIND') })
    const unbound = await evidenceOf(one, await newNonce(registrar.origin))
    expect(await post(registrar.origin, '/enrol/challenge', { evidence: unbound })).toMatchObject(
      refusedWith('VERIFY_BIND'),
    )
    const own = await challengeOf(one, registrar, { nonce: 'ab'.repeat(64) })
    expect(own).toMatchObject({ status: 403, ...refusedWith('ENROL_NONCE') })
  })

  test('a nonce is used once, whoever has seen its evidence', async () => {
    await using registrar = await registrarWith(trust)
    const nonce = await newNonce(registrar.origin)
    expect(await challengeOf(one, registrar, { nonce })).toMatchObject({ status: 200 })
    expect(await challengeOf(one, registrar, { nonce })).toMatchObject(refusedWith('ENROL_NONCE'))
  })

  test('a reply that was lost is given again, and nothing is enrolled twice', async () => {
    await using registrar = await registrarWith(trust)
    const { answer } = await challengeOf(one, registrar)
    const replies = await Promise.all(
      [1, 2, 3].map(() => post(registrar.origin, '/enrol', { answer })),
    )
    for (const reply of replies) expect(reply).toEqual({ ...replies[0], status: 200 })
    expect(eventsOf(registrar)).toHaveLength(1)
  })

  test('killed between the two round trips it goes on where it was', async () => {
    await using registrar = await registrarWith(trust)
    const { answer } = await challengeOf(one, registrar)
    await registrar.end('SIGKILL')
    await using next = await startRegistrarProcess(join(registrar.database, '..'), trust).then(
      (started) => Object.assign(started, { [Symbol.asyncDispose]: () => started.end() }),
    )
    const enrolled = await post(next.origin, '/enrol', { answer })
    expect(enrolled).toMatchObject({ status: 200, body: { state: 'active' } })
    await next.end('SIGKILL')
    expect(eventsOf(next)).toHaveLength(1)
  })
})

describe('admission', () => {
  test('a TPM that nothing vouches for is refused, held or taken, as is configured', async () => {
    const identity = trust.split('\n').filter((line) => !line.startsWith('ek_anchors'))
    const rules = (unanchored: string) =>
      [...identity, '[admission]', `unanchored = "${unanchored}"`, ''].join('\n')
    {
      await using registrar = await registrarWith(rules('refuse'))
      expect(await enrol(one, registrar)).toMatchObject(refusedWith('VERIFY_UNANCHORED'))
    }
    {
      await using registrar = await registrarWith(rules('hold'))
      expect(await enrol(one, registrar)).toMatchObject({ status: 202, body: { state: 'held' } })
    }
    await using registrar = await registrarWith(rules('admit'))
    expect(await enrol(one, registrar)).toMatchObject({ status: 200, body: { state: 'active' } })
    expect(eventsOf(registrar)).toMatchObject([{ event: 'instance.enrolled', anchor: 'none' }])
  })

  test('a certificate that leads elsewhere is refused, however lenient the rules are', async () => {
    const alone = await trustOf(other.directory)
    await using registrar = await registrarWith(
      `${alone}[admission]\nunanchored = "admit"\ninstance_id = "word"\n`,
    )
    expect(await enrol(one, registrar)).toMatchObject(refusedWith('VERIFY_CERTIFICATE_ISSUER'))
  })

  test('approval by hand may be wanted of all', async () => {
    await using registrar = await registrarWith(`${trust}[admission]\nanchored = "hold"\n`)
    expect(await enrol(one, registrar)).toMatchObject({ status: 202, body: { state: 'held' } })
    expect(await enrol(one, registrar, { generation: 1 })).toMatchObject({ status: 202 })
    expect(eventsOf(registrar)).toMatchObject([{ event: 'instance.held' }])
  })

  test('the agent’s word for its instance id is not enough, unless it is said to be', async () => {
    one.cloud?.faults.set({
      kind: 'status',
      code: 404,
      path: '/latest/dynamic/instance-identity/pkcs7',
    })
    try {
      await using registrar = await registrarWith(trust)
      expect(await enrol(one, registrar)).toMatchObject(refusedWith('ENROL_UNNAMED'))
      await using lenient = await registrarWith(`${trust}[admission]\ninstance_id = "word"\n`)
      expect(await enrol(one, lenient)).toMatchObject({ status: 200 })
    } finally {
      one.cloud?.faults.clear()
    }
  })
})

describe('requests of strangers', () => {
  let registrar: RegistrarProcess
  beforeAll(async () => {
    registrar = stack.use(await registrarWith(trust))
  })

  test.each([
    ['nothing', '', 400, 'VERIFY_FORMAT'],
    ['no JSON', '{', 400, 'VERIFY_FORMAT'],
    ['a member twice', '{"evidence":{},"evidence":{}}', 400, 'VERIFY_FORMAT'],
    ['a list', '[]', 400, 'ENROL_REQUEST'],
    ['no evidence', '{}', 400, 'ENROL_REQUEST'],
    [
      'more than is known',
      `{"evidence":{"nonce":"${'ab'.repeat(64)}"},"more":1}`,
      400,
      'ENROL_REQUEST',
    ],
    ['deep nesting', '['.repeat(100), 400, 'VERIFY_FORMAT'],
    ['more than fits', JSON.stringify('x'.repeat(300_000)), 413, 'REQUEST_BODY'],
  ])('%s is refused', async (_name, body, _status, error) => {
    const answered = await post(registrar.origin, '/enrol/challenge', body)
    expect(answered).toMatchObject(refusedWith(error))
    expect(answered.status).toBeGreaterThanOrEqual(400)
    expect(answered.status).toBeLessThan(500)
  })

  test('another path, method or type, and too many of them', async () => {
    const { origin } = registrar
    expect((await fetch(`${origin}/admin`)).status).toBe(404)
    expect((await fetch(`${origin}/enrol`)).status).toBe(404)
    const form = await fetch(`${origin}/enrol`, { method: 'POST', body: 'x' })
    expect(form.status).toBe(400)
    const limits = 'request_burst = 7\nrequests_per_second = 0.01\npending_per_address = 1\n'
    await using strict = await registrarWith(`${limits}${trust}`)
    expect((await challengeOf(one, strict)).status).toBe(200)
    expect(await challengeOf(one, strict)).toMatchObject({
      status: 503,
      ...refusedWith('ENROL_FULL'),
    })
    // Each of the two has asked for a nonce besides.
    const answers = await Promise.all([1, 2, 3, 4].map(() => fetch(`${strict.origin}/healthz`)))
    const limited = answers.filter(({ status }) => status === 429)
    expect(limited).toHaveLength(1)
    expect(Number(limited[0]?.headers.get('retry-after'))).toBeGreaterThan(0)
  })
})
