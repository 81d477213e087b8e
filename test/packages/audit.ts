import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * `./dev audit [--require]`: asks the registry what is known to be wrong with the packages of the lock files, and verifies
 * its signatures and the provenance of those that have any. A registry that does not say is told, and fails with
 * --require.
 */

export type Verdict = 'passed' | 'failed' | 'not answered'

export interface Audited {
  readonly verdict: Verdict
  /** One line each. */
  readonly sentences: readonly string[]
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const FOLDERS = [
  '.',
  'test/clients/product',
  'test/clients/federation',
  'test/clients/verifiers',
  'test/mutate',
]
const ANSWER_MS_MAX = 180_000

/** What `npm audit --json` says. What is for development alone is told, and does not fail. */
export function auditedIn(json: string, isShipped: boolean): Audited {
  const said = objectIn(json)
  const found = said?.vulnerabilities
  if (!isObject(found)) return { verdict: 'not answered', sentences: [reasonIn(said)] }
  const sentences = Object.entries(found).map(
    ([name, entry]) => `${name}: ${isObject(entry) ? entry.severity : 'unknown'}`,
  )
  return { verdict: isShipped && sentences.length > 0 ? 'failed' : 'passed', sentences }
}

/** What `npm audit signatures --json` says. */
export function signaturesIn(json: string): Audited {
  const said = objectIn(json)
  const { invalid, missing } = said ?? {}
  if (!Array.isArray(invalid) || !Array.isArray(missing)) {
    return { verdict: 'not answered', sentences: [reasonIn(said)] }
  }
  const nameOf = (entry: unknown) => (isObject(entry) ? `${entry.name}@${entry.version}` : '')
  const sentences = [
    ...invalid.map((entry) => `${nameOf(entry)}: its signature or provenance is not good`),
    ...missing.map((entry) => `${nameOf(entry)}: it has no signature`),
  ]
  return { verdict: sentences.length > 0 ? 'failed' : 'passed', sentences }
}

function reasonIn(said: Record<string, unknown> | undefined): string {
  const { error } = said ?? {}
  const reason = isObject(error) ? (error.summary ?? error.code) : undefined
  return `the registry does not say: ${said?.message ?? reason ?? 'no answer'}`
}

function objectIn(json: string): Record<string, unknown> | undefined {
  try {
    const said: unknown = JSON.parse(json)
    return isObject(said) ? said : undefined
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** npm wants the Node that it came with. */
function npm(folder: string, args: readonly string[]): string {
  const env = { ...process.env, PATH: process.env.MACHINE_PATH ?? process.env.PATH }
  const cwd = `${ROOT}${folder}`
  return spawnSync('npm', args, { cwd, env, timeout: ANSWER_MS_MAX, encoding: 'utf8' }).stdout ?? ''
}

function audits(): (readonly [what: string, audited: Audited])[] {
  const lock = ['audit', '--json', '--package-lock-only']
  return [
    ['what is shipped', auditedIn(npm('.', [...lock, '--omit=dev']), true)],
    ...FOLDERS.map((folder) => [`all of ${folder}`, auditedIn(npm(folder, lock), false)] as const),
    ['signatures', signaturesIn(npm('.', ['audit', 'signatures', '--json']))],
  ]
}

if (import.meta.main) {
  const isRequired = process.argv.includes('--require')
  const all = audits()
  for (const [what, { verdict, sentences }] of all) {
    process.stdout.write(`${what}: ${verdict}\n`)
    for (const sentence of sentences) process.stdout.write(`  ${sentence}\n`)
  }
  const count = (verdict: Verdict) => all.filter(([, one]) => one.verdict === verdict).length
  const failed = count('failed') + (isRequired ? count('not answered') : 0)
  process.stdout.write(`${count('passed')} passed, ${failed} failed\n`)
  process.exitCode = failed > 0 ? 1 : 0
}
