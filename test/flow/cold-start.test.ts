import { expect, test } from 'vitest'
import { startSimulator } from '../../src/simulate/simulator.ts'
import { startInstance } from '../harness/instance.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { clientOf } from './requests.ts'

const PATHS = [
  '/latest/meta-data/instance-id',
  '/latest/meta-data/hostname',
  '/latest/meta-data/mac',
  '/latest/meta-data/ram/security-credentials',
  '/latest/meta-data/ram/security-credentials/demo-role',
  '/latest/dynamic/instance-identity/document',
]
// The cloud is in the process of the callers, and answers when all of them have asked.
const PATIENT = '[source]\ntimeout_ms = 60000\nconnect_timeout_ms = 60000\n'

test('a thousand callers on a cold start make one read upstream of each path', async () => {
  await using stack = new AsyncDisposableStack()
  const { path: directory } = stack.use(await scratchDirectory())
  const cloud = stack.adopt(await startSimulator({ role: 'demo-role' }), (one) => one.close())
  const instance = stack.adopt(
    await startInstance(directory, { source: cloud.url, config: PATIENT }),
    (one) => one.stop(),
  )
  const client = stack.adopt(await clientOf(instance.metadataSocket), (one) => one.close())
  const callers = Array.from({ length: 1000 }, (_, at) => PATHS[at % PATHS.length] ?? '')
  const answers = await Promise.all(callers.map((path) => client.get(path)))
  expect(answers.filter(({ status }) => status !== 200)).toEqual([])
  const asked = cloud.requests.map(({ method, target }) => `${method} ${target.replace(/\/$/, '')}`)
  const readsOf = (path: string) => asked.filter((one) => one === `GET ${path}`).length
  expect(PATHS.map(readsOf)).toEqual(PATHS.map(() => 1))
  expect(asked.filter((one) => one.startsWith('PUT '))).toHaveLength(1)
})
