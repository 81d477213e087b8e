import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../harness/free-port.ts'
import { scratch } from '../harness/metabind.ts'
import { registrarCommand } from './registrar-command.ts'
import { type RegistrarProcess, startRegistrarProcess } from './registrar-process.ts'
import {
  enrolledBy,
  freshEvidence,
  type SoftwareInstance,
  unknownInstance,
} from './software-instance.ts'

/** What strangers can add to a registrar that holds those for whose TPM nothing vouches. */

const HELD = '[admission]\nunanchored = "hold"\ninstance_id = "word"\n'

const stack = new AsyncDisposableStack()
let registrar: RegistrarProcess
let metrics: string
let start: () => Promise<void>
beforeAll(async () => {
  const port = await freePort()
  metrics = `http://127.0.0.1:${port}/metrics`
  const { path } = stack.use(await scratch())
  start = async () => {
    // Of the table of limits, which stands first.
    const more = `held = 2\n${HELD}[metrics]\nport = ${port}\n`
    registrar = await startRegistrarProcess(join(path, 'r'), more)
  }
  await start()
  stack.defer(() => registrar.end())
})
afterAll(() => stack.disposeAsync())

async function enrol(instance: SoftwareInstance, generation = 0) {
  const evidence = await freshEvidence(instance, registrar, generation)
  return enrolledBy(registrar, evidence, instance, { generation })
}

test('is bounded, whatever becomes of it without an administrator', async () => {
  const [one, two, three] = [
    unknownInstance('i-one'),
    unknownInstance('i-two'),
    unknownInstance('i-three'),
  ] as const
  for (const held of [one, two]) expect((await enrol(held)).status).toBe(202)
  const crowded = { status: 503, body: expect.objectContaining({ error: 'ENROL_CROWDED' }) }
  expect(await enrol(three)).toEqual(crowded)
  // Those that wait go on waiting.
  expect((await enrol(one, 1)).status).toBe(202)
  // One that has itself suspended makes no room for another.
  expect((await enrol({ ...one, instanceId: 'i-other' })).body.error).toBe('ENROL_CLONED')
  expect(await enrol(three)).toEqual(crowded)
  expect((await registrarCommand(registrar, 'approve', 'i-two')).code).toBe(0)
  expect((await enrol(three)).status).toBe(202)
  expect((await registrarCommand(registrar, 'list')).stdout.trim().split('\n')).toHaveLength(3)
})

test('is counted by state from the beginning of a registrar', async () => {
  await registrar.end()
  await start()
  const text = await (await fetch(metrics)).text()
  const counted = [...text.matchAll(/_instances\{state="(\w+)"\} (\d+)/g)]
  expect(Object.fromEntries(counted.map(([, state, count]) => [state, Number(count)]))).toEqual({
    ...{ active: 1, held: 1, suspended: 1 },
    ...{ evicted: 0, banned: 0 },
  })
})
