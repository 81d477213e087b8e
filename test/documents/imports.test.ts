import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

/**
 * Which way imports may point. `verify` and `format` are bytes in, values out; `relay` knows nothing
 * of the TPM; `native` knows nothing of metabind. A type counts like a value: what cannot be named
 * cannot be depended on.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

interface Rule {
  /** Sources, by the beginning of their path. The longest that fits decides. */
  readonly of: string
  /** What they may import: a path or its beginning (with `/` or `*`), a package, a `node:` module. */
  readonly may: readonly string[]
}

const PARSERS = ['pkijs', 'asn1js', '@peculiar/*']
const WEB = ['fastify', 'undici', 'zod']
const RULES: readonly Rule[] = [
  { of: 'src/errors.ts', may: [] },
  { of: 'src/version.ts', may: ['package.json'] },
  { of: 'src/shares.ts', may: [] },
  { of: 'src/log.ts', may: ['src/shares.ts', 'pino', 'node:*'] },
  { of: 'src/config.ts', may: ['src/errors.ts', 'src/format/', 'node:fs', 'zod'] },
  // What the agent is put together from: the only place that knows boot and relay.
  { of: 'src/agent/', may: ['src/', 'tpm2-js/linux', 'node:*', 'fastify'] },
  { of: 'src/agent/supervisor.ts', may: [] },
  { of: 'src/agent/bounds.ts', may: ['src/config.ts', 'src/relay/'] },
  {
    of: 'src/agent/boot-',
    may: [
      'src/agent/',
      'src/boot/',
      'src/config.ts',
      'src/errors.ts',
      'src/log.ts',
      'src/relay/dialect.ts',
      'src/relay/metadata.ts',
      'src/verify/trust.ts',
      'tpm2-js/linux',
      'node:*',
    ],
  },
  { of: 'src/agent/watched-keys.ts', may: ['src/boot/', 'src/relay/audit.ts'] },
  {
    of: 'src/agent/trust-files.ts',
    may: ['src/config.ts', 'src/errors.ts', 'src/verify/', 'node:*'],
  },
  { of: 'src/inherited-sockets.ts', may: ['src/errors.ts'] },
  { of: 'src/service-manager.ts', may: ['src/agent/supervisor.ts', 'tpm2-js/linux'] },
  { of: 'src/format/', may: ['src/errors.ts', 'src/format/', 'node:crypto', 'node:util', 'zod'] },
  {
    of: 'src/format/toml.ts',
    may: ['src/errors.ts', 'src/format/', 'toml-eslint-parser'],
  },
  {
    of: 'src/verify/',
    may: ['src/verify/', 'src/format/', 'src/errors.ts', 'node:crypto', 'zod', ...PARSERS],
  },
  {
    of: 'src/boot/',
    may: ['src/boot/', 'src/format/', 'src/errors.ts', 'tpm2-js', 'node:*', 'zod'],
  },
  {
    // The agent is its own first verifier.
    of: 'src/boot/self-test.ts',
    may: ['src/boot/', 'src/format/', 'src/errors.ts', 'src/verify/', 'node:crypto'],
  },
  {
    of: 'src/relay/',
    may: [
      'src/relay/',
      'src/format/',
      'src/errors.ts',
      'src/log.ts',
      'src/shares.ts',
      'node:*',
      ...WEB,
    ],
  },
  {
    of: 'src/relay/caller.ts',
    may: ['src/errors.ts', 'src/relay/process.ts', 'src/relay/rate.ts', 'tpm2-js/linux', 'node:*'],
  },
  { of: 'src/relay/socket-buffers.ts', may: ['tpm2-js/linux', 'node:net'] },
  {
    of: 'src/relay/tcp-caller.ts',
    may: ['src/errors.ts', 'src/format/', 'src/relay/', 'tpm2-js/linux', 'node:*'],
  },
  { of: 'src/relay/metrics.ts', may: ['src/errors.ts', 'src/relay/', 'node:*', 'prom-client'] },
  { of: 'src/relay/dialect', may: ['src/relay/dialect*', 'src/errors.ts'] },
  { of: 'src/client.ts', may: ['src/errors.ts', 'src/format/', 'src/relay/dialect*', 'node:*'] },
  {
    of: 'src/cli',
    may: [
      'src/cli/',
      'src/client.ts',
      'src/errors.ts',
      'src/config.ts',
      'src/format/',
      'src/verify/',
      'src/version.ts',
      'node:*',
      'zod',
    ],
  },
  {
    of: 'src/cli/policy.ts',
    may: [
      'src/cli/',
      'src/errors.ts',
      'src/relay/accounts.ts',
      'src/relay/policy*',
      'src/relay/dialect*',
      'node:*',
    ],
  },
  {
    of: 'src/cli/lockdown-plan.ts',
    may: ['src/config.ts', 'src/errors.ts', 'src/format/', 'src/relay/dialect*', 'node:*'],
  },
  {
    of: 'src/cli/credential',
    may: ['src/cli/', 'src/errors.ts', 'src/format/', 'src/sdk/client.ts', 'node:*'],
  },
  {
    of: 'src/cli/exec',
    may: ['src/cli/', 'src/errors.ts', 'src/format/', 'src/sdk/client.ts', 'node:*'],
  },
  { of: 'src/cli/simulate.ts', may: ['src/cli/', 'src/errors.ts', 'src/simulate/', 'node:*'] },
  // Made for applications: nothing of the agent, and none of its parsers but those of answers.
  { of: 'src/sdk/', may: ['src/sdk/', 'src/client.ts', 'src/errors.ts', 'src/format/', 'node:*'] },
  {
    of: 'src/simulate/',
    may: ['src/simulate/', 'src/errors.ts', 'src/format/', 'node:*', 'zod', ...PARSERS],
  },
  {
    of: 'src/daemon.ts',
    may: [
      'src/agent/agent.ts',
      'src/config.ts',
      'src/errors.ts',
      'src/inherited-sockets.ts',
      'src/log.ts',
      'src/relay/counters.ts',
      'src/service-manager.ts',
      'src/version.ts',
      'tpm2-js/linux',
      'node:*',
    ],
  },
  { of: 'native/src/', may: ['native/src/', 'node:*', 'koffi'] },
]

interface Imported {
  readonly by: string
  /** A path from the root, or the name of a package or of a module of Node. */
  readonly what: string
}

const FILES = ['src', 'native/src'].flatMap((folder) =>
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

test('one folder has an index', () => {
  const indexes = FILES.filter((file) => /(^|\/)index\.ts$/.test(file))
  expect(indexes.filter((file) => file !== 'src/verify/index.ts')).toEqual([])
})

test('folders are one level deep', () => {
  const depth = (file: string) => file.replace(/^native\//, '').split('/').length
  expect(FILES.filter((file) => depth(file) > 3)).toEqual([])
})

describe('what a list of imports does not show', () => {
  test('relay knows the type of the log and nothing else of it', () => {
    for (const { by } of IMPORTS.filter(
      ({ by, what }) => by.startsWith('src/relay/') && what === 'src/log.ts',
    )) {
      expect(textOf(by)).toMatch(/^import type \{ \w+ \} from '\.\.\/log\.ts'$/m)
    }
  })

  test.each(FILES.filter((file) => /^src\/(format|verify)\//.test(file)))(
    '%s asks no clock and no process',
    (file) => {
      expect(textOf(file)).not.toMatch(/Date\.now|new Date\(\)|performance\.|\bprocess\.|\bfetch\(/)
    },
  )

  test('only the two programs end the process or set its exit code', () => {
    const enders = FILES.filter((file) => /process\.exit|exitAtOnce\(/.test(textOf(file)))
    expect(enders.filter((file) => file.startsWith('src/'))).toEqual([
      'src/cli.ts',
      'src/daemon.ts',
    ])
  })

  test('no module is named by a value', () => {
    const named = IMPORTS.filter(({ what }) => !/^(node:|[@a-z])[\w@./:-]*$/.test(what))
    expect(named).toEqual([])
  })
})
