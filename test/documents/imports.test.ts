import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

/**
 * Which way imports may point. `format` and the rooms of the verifier are bytes in, values out; `relay` knows nothing
 * of the TPM; the agent knows nothing of lockdown's rules; `native` knows nothing of metabind, and its
 * workspaces nothing of each other. A type counts like a value: what cannot be named cannot be depended on.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

interface Rule {
  /** Sources, by the beginning of their path. The longest that fits decides. */
  readonly of: string
  /** What they may import: a path or its beginning (with `/` or `*`), a package, a `node:` module. */
  readonly may: readonly string[]
}

/** What every room may know: the codes, and small values that are no room's own. */
const ERROR_CODES = ['src/errors.ts', 'src/error-table.ts']
const COMMON = [
  ...ERROR_CODES,
  'src/secret.ts',
  'src/rate-limit.ts',
  'src/open-counts.ts',
  'src/json.ts',
  'src/remembered.ts',
  'node:*',
  'zod',
]
const ADMIN_API = 'src/admin-api.ts'
/** What speaks to an agent. */
const CLIENT = ['src/client.ts', 'src/admin-client.ts', 'src/agent-socket.ts']
const LINUX = 'metabind-linux'
const PKCS11 = 'metabind-pkcs11'

const isRoom = (name: string) => existsSync(join(ROOT, 'src', name)) && !name.includes('/')

const roomWith = (common: readonly string[], name: string, may: readonly string[]): Rule => ({
  of: `src/${name}/`,
  may: [`src/${name}/`, ...common, ...may.map((one) => (isRoom(one) ? `src/${one}/` : one))],
})
/** @returns the rule of a room: itself, what every room may know, and what is named */
const room = (name: string, ...may: readonly string[]) => roomWith(COMMON, name, may)

/** @returns the rule of a room that knows no file, network, clock or process */
const pure = (name: string, ...may: readonly string[]) =>
  roomWith([...ERROR_CODES, 'node:crypto'], name, may)

// A row a room: those further down may import those further up, and not the other way.
const RULES: readonly Rule[] = [
  pure('format', 'zod', 'cborg', 'src/remembered.ts'),
  pure('certificates', 'format', 'pkijs', 'asn1js', 'src/remembered.ts'),
  pure('measurements', 'format', 'certificates', 'zod'),
  pure(
    'verify',
    ...['format', 'certificates', 'measurements', 'src/remembered.ts', 'zod', 'pkijs', 'asn1js'],
  ),
  pure('results', 'format', 'verify', 'zod'),
  // The names that the published module has.
  {
    of: 'src/verify/index.ts',
    may: ['src/verify/', 'src/format/', 'src/results/', 'src/errors.ts'],
  },
  room('storage'),
  room('dialect', 'format'),
  room('caller', 'dialect', LINUX),
  // The agent is its own first verifier.
  room('identity', 'format', 'measurements', 'storage', 'verify', 'tpm2-js'),
  room('audit', 'caller', 'storage', 'src/shares.ts', 'src/log.ts'),
  room('token', ADMIN_API, 'audit', 'caller', 'format', 'identity', 'storage', LINUX),
  room('policy', ADMIN_API, 'audit', 'caller', 'format', 'storage', 'src/toml.ts'),
  room('metadata', ADMIN_API, 'dialect', 'undici'),
  // The agent's part of what it has of the registrar: of its TPM and its sockets it knows nothing.
  room('federation', ADMIN_API, 'caller', 'format', 'storage'),
  room('http', 'caller', 'fastify', LINUX),
  room(
    'relay',
    ADMIN_API,
    ...['audit', 'caller', 'dialect', 'federation', 'http', 'metadata', 'policy', 'token'],
    ...['format', 'fastify'],
  ),
  room(
    'admin',
    ADMIN_API,
    ...[
      'audit',
      'caller',
      'federation',
      'http',
      'metadata',
      'policy',
      'relay',
      'token',
      'src/ui-paths.ts',
      'fastify',
      'prom-client',
    ],
  ),
  // What the agent is put together from: the only room that knows both its TPM and its sockets.
  room('agent', 'src/', 'fastify', LINUX),
  // Made for applications: nothing of the agent.
  room('sdk', 'src/agent-socket.ts', 'src/client.ts', 'dialect', 'format', 'token'),
  // Root's side of it: the agent never imports it.
  room('lockdown', ADMIN_API, ...CLIENT, 'caller', 'dialect', 'format', 'src/config.ts'),
  room('simulate', 'format', 'asn1js'),
  room('registrar-repository', 'audit', 'format', 'storage', 'verify', 'pg'),
  room('registrar-keys', 'format', 'registrar-repository', 'storage', PKCS11),
  // A program of its own: it verifies what agents say, and knows none of their rooms.
  room(
    'registrar',
    ...['audit', 'certificates', 'format', 'http', 'measurements', 'storage', 'verify'],
    ...['registrar-keys', 'registrar-repository', 'fastify', 'prom-client'],
    ...['src/config-file.ts', 'src/log.ts', 'src/service-manager.ts', 'src/version.ts', LINUX],
    // Of certificates of attestation keys.
    ...['pkijs', 'asn1js'],
  ),
  room(
    'cli',
    ADMIN_API,
    ...[
      'audit',
      'caller',
      'dialect',
      'format',
      'lockdown',
      'policy',
      'sdk',
      'simulate',
      'storage',
      'verify',
    ],
    ...[...CLIENT, 'src/config.ts', 'src/ui-paths.ts', 'src/version.ts'],
  ),
  // What stands beside the rooms.
  { of: 'src/error-table.ts', may: [] },
  { of: 'src/errors.ts', may: ['src/error-table.ts'] },
  { of: 'src/secret.ts', may: ['node:util'] },
  { of: 'src/rate-limit.ts', may: [] },
  { of: 'src/open-counts.ts', may: [] },
  { of: 'src/json.ts', may: [] },
  { of: 'src/remembered.ts', may: [] },
  { of: 'src/shares.ts', may: [] },
  { of: 'src/service-manager.ts', may: ['node:timers/promises', LINUX] },
  { of: 'src/version.ts', may: ['package.json'] },
  { of: 'src/toml', may: ['src/toml-bounds.ts', 'src/errors.ts', 'toml-eslint-parser'] },
  { of: 'src/log.ts', may: ['src/shares.ts', 'pino', 'node:*'] },
  {
    of: 'src/config.ts',
    may: [...COMMON, 'src/config-file.ts', 'src/token/claims.ts', 'src/format/dialect-name.ts'],
  },
  {
    of: 'src/config-file.ts',
    may: [...COMMON, 'src/storage/read-at-most.ts', 'src/toml.ts', 'src/format/schema-issue.ts'],
  },
  { of: 'src/admin-api.ts', may: ['src/format/', 'src/snapshot-api.ts', ...ERROR_CODES, 'zod'] },
  { of: 'src/snapshot-api.ts', may: ['zod'] },
  { of: 'src/ui-paths.ts', may: [] },
  // What a browser runs: of the agent only the shape of what it sends.
  { of: 'src/page/', may: ['src/page/', ADMIN_API, 'src/ui-paths.ts', 'preact'] },
  // Of the sources only: in a package another module is in its place.
  { of: 'src/admin/page-files.ts', may: ['node:*', 'esbuild'] },
  {
    of: 'src/agent-socket.ts',
    may: ['src/dialect/', 'node:fs', 'node:http', 'node:net', ...ERROR_CODES],
  },
  {
    of: 'src/admin-client.ts',
    may: ['src/agent-socket.ts', ADMIN_API, 'src/format/', ...ERROR_CODES, 'zod'],
  },
  {
    of: 'src/client.ts',
    may: [...CLIENT, ...ERROR_CODES, 'src/secret.ts', 'src/dialect/'],
  },
  {
    of: 'src/cli.ts',
    may: [...COMMON, 'src/cli/', 'src/format/nearest-word.ts', 'src/version.ts'],
  },
  {
    of: 'src/registrar.ts',
    may: [
      ...COMMON,
      ...['src/registrar/', 'src/registrar-keys/', 'src/registrar-repository/'],
      ...['src/format/nearest-word.ts', 'src/version.ts', LINUX],
    ],
  },
  {
    of: 'src/daemon.ts',
    may: [
      ...COMMON,
      'src/agent/',
      'src/config.ts',
      'src/log.ts',
      'src/relay/counters.ts',
      'src/service-manager.ts',
      'src/version.ts',
      LINUX,
    ],
  },
  { of: 'native/tpm2-js/', may: ['native/tpm2-js/', 'node:*', 'koffi'] },
  { of: 'native/linux/', may: ['native/linux/', 'node:*', 'koffi'] },
  { of: 'native/pkcs11/', may: ['native/pkcs11/', 'node:*', 'koffi'] },
]

interface Imported {
  readonly by: string
  /** A path from the root, or the name of a package or of a module of Node. */
  readonly what: string
}

const FILES = ['src', 'native/tpm2-js/src', 'native/linux/src', 'native/pkcs11/src'].flatMap(
  (folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name)),
)
const IMPORTS: readonly Imported[] = FILES.flatMap(importsOf)

/** Everything that a file names another module by: import, import type, export from, import(). */
function importsOf(file: string): Imported[] {
  return specifiers(textOf(file)).map((name) => ({ by: file, what: resolved(file, name) }))
}

function specifiers(text: string): string[] {
  const clause = String.raw`(?:type\s+)?(?:[\w$]+\s*,?\s*)?(?:\*(?:\s*as\s+[\w$]+)?|\{[^{}]*\})?`
  const statement = new RegExp(
    String.raw`^\s*(?:import|export)\b\s*(?:${clause}\s*from\s*)?['"]([^'"]+)['"]`,
    'gm',
  )
  const call = /(?<![.\w])(?:import|require)\s*\(\s*['"`]?([^'"`)]+)/g
  return [...text.matchAll(statement), ...text.matchAll(call)].map(([, name = '']) => name)
}

/** The source without its comments, which may speak of imports. */
function textOf(file: string): string {
  const text = readFileSync(join(ROOT, file), 'utf8')
  return text.replace(/\/\*.*?\*\//gs, '').replace(/^\s*\/\/.*$/gm, '')
}

function resolved(file: string, name: string): string {
  if (!name.startsWith('.')) return name
  const path = join(dirname(file), name)
  if (!existsSync(join(ROOT, path))) throw new Error(`${file} imports ${name}, which is not there`)
  return path
}

function fits(what: string, pattern: string): boolean {
  if (pattern.endsWith('*')) return what.startsWith(pattern.slice(0, -1))
  if (pattern.endsWith('/')) return what.startsWith(pattern)
  return what === pattern
}

function ruleOf(file: string): Rule | undefined {
  return RULES.filter(({ of }) => file.startsWith(of)).toSorted(
    (one, other) => other.of.length - one.of.length,
  )[0]
}

test.each(FILES)('%s imports what it may', (file) => {
  const rule = ruleOf(file)
  expect(rule, 'a rule for it').toBeDefined()
  const wrong = IMPORTS.filter(
    ({ by, what }) => by === file && !rule?.may.some((may) => fits(what, may)),
  )
  expect(wrong.map(({ what }) => what)).toEqual([])
})

test('every rule is about something', () => {
  const idle = RULES.filter((rule) => !FILES.some((file) => ruleOf(file) === rule))
  expect(idle.map(({ of }) => of)).toEqual([])
})

test('every rule allows what is used, and nothing else', () => {
  const isUsed = (rule: Rule, may: string) =>
    IMPORTS.some(({ by, what }) => ruleOf(by) === rule && fits(what, may))
  const idle = RULES.flatMap((rule) =>
    rule.may
      .filter((may) => !COMMON.includes(may) && !rule.of.startsWith(may) && !isUsed(rule, may))
      .map((may) => `${rule.of}: ${may}`),
  )
  expect(idle).toEqual([])
})

test('nothing imports in a circle', () => {
  const edges = Map.groupBy(IMPORTS, ({ by }) => by)
  const done = new Set<string>()
  const circleFrom = (file: string, way: readonly string[]): readonly string[] | undefined => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file]
    if (done.has(file)) return undefined
    for (const { what } of edges.get(file) ?? []) {
      const circle = circleFrom(what, [...way, file])
      if (circle !== undefined) return circle
    }
    done.add(file)
    return undefined
  }
  for (const file of FILES) expect(circleFrom(file, [])).toBeUndefined()
})

test('the agent opens no wrapper and signs no result', () => {
  const edges = Map.groupBy(IMPORTS, ({ by }) => by)
  const reached = new Set(['src/daemon.ts'])
  // A set shows what is added to it while it is walked.
  for (const file of reached) for (const { what } of edges.get(file) ?? []) reached.add(what)
  expect([...reached].filter((file) => /cmw|[/-]result/.test(file))).toEqual([])
})

test('one folder has an index', () => {
  const indexes = FILES.filter((file) => /(^|\/)index\.ts$/.test(file))
  expect(indexes.filter((file) => file !== 'src/verify/index.ts')).toEqual([])
})

test('folders are one level deep', () => {
  const depth = (file: string) => file.replace(/^native\//, '').split('/').length
  expect(FILES.filter((file) => depth(file) > 3)).toEqual([])
})

describe('what a list of imports does not show', () => {
  test('audit knows the type of the log and nothing else of it', () => {
    for (const { by } of IMPORTS.filter(
      ({ by, what }) => by.startsWith('src/audit/') && what === 'src/log.ts',
    )) {
      expect(textOf(by)).toMatch(/^import type \{ \w+ \} from '\.\.\/log\.ts'$/m)
    }
  })

  test.each(
    FILES.filter((file) => /^src\/(format|certificates|measurements|verify|results)\//.test(file)),
  )('%s asks no clock and no process', (file) => {
    expect(textOf(file)).not.toMatch(/Date\.now|new Date\(\)|performance\.|\bprocess\.|\bfetch\(/)
  })

  test('only the programs end the process or set its exit code', () => {
    const enders = FILES.filter((file) => /process\.exit|exitAtOnce\(/.test(textOf(file)))
    expect(enders.filter((file) => file.startsWith('src/'))).toEqual([
      'src/cli.ts',
      'src/daemon.ts',
      'src/registrar.ts',
    ])
  })

  test('no module is named by a value', () => {
    const named = IMPORTS.filter(({ what }) => !/^(node:|[@a-z])[\w@./:-]*$/.test(what))
    expect(named).toEqual([])
  })
})
