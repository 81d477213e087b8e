import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

/** A file of src/ROOM/ has a test of its name in test/ROOM/, or is reached by one that is named here. */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Per room: the tests that cover what has none of its name, and why it has none. */
const COVERED_BY: Readonly<Record<string, readonly [why: string, ...tests: string[]]>> = {
  admin: ['answers for a running agent', 'flow/metrics', 'flow/policy', 'flow/status-page'],
  agent: [
    'puts a process together, and only a process shows it',
    ...['flow/endings', 'flow/service-manager', 'flow/tpm-faults', 'flow/lifetimes'],
  ],
  audit: ['parts of the writer and of the chain', 'audit/writer', 'audit/file', 'flow/audit'],
  caller: ['asks the kernel about real peers', 'caller/caller', 'caller/tcp-caller', 'flow/caller'],
  cli: ['verbs, run as commands', 'cli/metabind', 'cli/doctor', 'cli/credential', 'cli/ui'],
  certificates: ['parts of building and judging a path', 'certificates/chain', 'certificates/crl'],
  dialect: ['tables', 'dialect/role-credentials', 'dialect/third-cloud'],
  federation: ['parts of what an agent has of a registrar', 'fleet/agent'],
  format: [
    'read and written by the verifier',
    ...['verify/structures', 'verify/oracles', 'measurements/event-log', 'verify/activation'],
    ...['verify/identity-token', 'identity/continuity'],
  ],
  http: [
    'parts of the server',
    'http/unread',
    'http/graceful-close',
    'flow/limits',
    'flow/restart-under-load',
  ],
  identity: ['parts of the self-test', 'identity/self-test', 'identity/continuity'],
  lockdown: ['rules of a real kernel', 'lockdown/lockdown', 'lockdown/preview', 'lockdown/doctor'],
  metadata: ['parts of the cache and the source', 'metadata/metadata', 'metadata/source'],
  page: ['what a browser runs', 'page/page'],
  relay: [
    'answers for a running agent',
    ...['flow/conformance-read', 'flow/identity', 'flow/ec2', 'lockdown/observe'],
  ],
  simulate: ['parts of one server', 'simulate/simulator', 'simulate/cloud-ec2', 'cli/simulate'],
  'registrar-keys': ['kept in the database or a token', 'registrar-keys/key-store'],
  'registrar-repository': [
    'two databases, and what reads them',
    ...[
      'registrar-repository/sqlite-repository',
      'postgresql/postgresql-repository',
      'fleet/backup',
    ],
  ],
  registrar: [
    'parts of one program, and what instances ask of it',
    ...['registrar-repository/sqlite-repository', 'fleet/enrolment'],
  ],
  results: ['members of one result', 'results/result', 'results/result-cwt'],
  storage: ['what the agent and the registrar trust', 'agent/trust-files'],
  token: ['files, and what is told of a token', 'flow/lifetimes', 'flow/other-caller'],
  verify: ['one list of checks', 'verify/checks', 'verify/structures', 'verify/activation'],
}

const isThere = (path: string) => existsSync(join(ROOT, path))

/** The sources that a file names: imports, and programs that it starts. */
const named = new Map<string, readonly string[]>()
function namedBy(file: string): readonly string[] {
  const known = named.get(file)
  if (known !== undefined) return known
  const text = readFileSync(join(ROOT, file), 'utf8')
  const paths = [...text.matchAll(/['"](\.{1,2}\/[^'"]+\.ts)['"]/g)]
    .map(([, path = '']) => join(dirname(file), path))
    .filter(isThere)
  named.set(file, paths)
  return paths
}

function reachedFrom(tests: readonly string[]): ReadonlySet<string> {
  const reached = new Set(tests)
  for (const file of reached) for (const path of namedBy(file)) reached.add(path)
  return reached
}

const ROOMS = readdirSync(join(ROOT, 'src'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)

/** The files of a room that have no test of their name. */
const withoutTest = (room: string) =>
  readdirSync(join(ROOT, 'src', room))
    .filter((file) => file.endsWith('.ts'))
    .filter((file) => !isThere(`test/${room}/${file.replace(/\.ts$/, '.test.ts')}`))
    .map((file) => `src/${room}/${file}`)

test.each(ROOMS)('%s: each file has a test of its name, or is reached by those named', (room) => {
  const [, ...tests] = COVERED_BY[room] ?? ['']
  const reached = reachedFrom(tests.map((name) => `test/${name}.test.ts`))
  expect(withoutTest(room).filter((file) => !reached.has(file))).toEqual([])
})

test('only rooms that need covering have it', () => {
  expect(Object.keys(COVERED_BY).filter((room) => withoutTest(room).length === 0)).toEqual([])
})
