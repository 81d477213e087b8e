import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { createVitest, type Vitest } from 'vitest/node'
import type { Answer, Order, RanTest } from './orders.ts'

/** What Stryker hands to a runner for a mutant; see `@stryker-mutator/api`, which is not installed for everybody. */
interface MutantRun {
  readonly activeMutant: { readonly id: string }
  readonly testFilter?: readonly string[]
  readonly hitLimit?: number
  readonly mutantActivation: 'runtime' | 'static'
}

const STATUS = { pass: 0, fail: 1, skip: 2 } as const
// A worker does not get old: what failing tests leave behind ends with it.
const ORDERS_MAX = 100
/** One that takes ten times as long as without a mutant, and some seconds, waits for what will not come. */
const timeoutMs = (ms: number) => 3000 + 10 * ms
/** What took longer may have been kept from running by something else: it is given so much more, once. */
const PATIENCE_MS = 60_000

/**
 * Runs the tests of a mutant in a worker of vitest that stays. Stryker's own runner starts vitest and a process of it
 * for each mutant, which takes ten times as long as the tests. Modules are loaded anew each time.
 */
class WarmRunner {
  #vitest: Vitest | undefined
  #server: Server | undefined
  #socket: Socket | undefined
  #lines: AsyncIterator<string> | undefined
  #pid: number | undefined
  #orders = 0
  /** How long each test took in the first run, which is one worker's. */
  #msOf: ReadonlyMap<string, number> | undefined
  readonly #testFiles = (process.env['MUTATE_TESTS'] ?? '').split(' ')
  readonly #times = process.env['MUTATE_TIMES'] ?? ''
  readonly #path = join(tmpdir(), `metabind-mutate-${process.pid}.sock`)

  capabilities(): { reloadEnvironment: boolean } {
    return { reloadEnvironment: true }
  }

  async init(): Promise<void> {
    process.env['MUTATE_SOCKET'] = this.#path
    process.env['NODE_ENV'] = 'test'
    const connected = new Promise<Socket>((resolve) => {
      this.#server = createServer(resolve).listen(this.#path)
    })
    this.#vitest = await createVitest('test', {
      config: 'test/mutate/vitest.config.ts',
      watch: false,
    })
    void this.#vitest.start()
    this.#socket = await connected
    this.#lines = createInterface(this.#socket)[Symbol.asyncIterator]()
    this.#pid = (JSON.parse(await this.#line()) as { pid: number }).pid
  }

  async dryRun() {
    const { tests, errors, coverage } = await this.#carryOut({
      files: this.#testFiles.map((path) => ({ path })),
    })
    writeFileSync(this.#times, JSON.stringify(tests.map(({ id, ms }) => [id, ms])))
    if (errors.length > 0) return { status: 'error', errorMessage: errors.join('\n') }
    return { status: 'complete', tests: tests.map(resultOf), mutantCoverage: coverage }
  }

  async mutantRun(run: MutantRun) {
    if (this.#orders >= ORDERS_MAX) await this.#startAnew()
    const order = this.#orderOf(run)
    let answer = await this.#carryOut(order)
    if (ranNothing(answer)) {
      await this.#startAnew()
      answer = await this.#carryOut(order)
    }
    if (ranNothing(answer)) {
      const { length } = order.files
      return { status: 'error', errorMessage: `no test ran, of ${length} files` }
    }
    if (timeOutOf(answer) !== undefined) {
      await this.#startAnew()
      answer = await this.#carryOut(patient(order))
    }
    // What it left running may fail the next mutant's tests.
    if (answer.isLeftRunning) this.#orders = ORDERS_MAX
    return judged(answer, run.hitLimit)
  }

  async #startAnew(): Promise<void> {
    await this.dispose()
    await this.init()
  }

  #orderOf({ activeMutant, testFilter, hitLimit, mutantActivation }: MutantRun): Order {
    return {
      files: this.#inOrder(testFilter),
      mutant: {
        id: activeMutant.id,
        whileLoading: mutantActivation === 'static',
        ...(hitLimit !== undefined && { hitsMax: hitLimit }),
      },
    }
  }

  async dispose(): Promise<void> {
    this.#orders = 0
    this.#socket?.destroy()
    this.#server?.close()
    if (this.#pid !== undefined) kill(this.#pid)
    await this.#vitest?.close()
    rmSync(this.#path, { force: true })
  }

  async #carryOut(order: Order): Promise<Answer> {
    this.#orders += 1
    this.#socket?.write(`${JSON.stringify(order)}\n`)
    const answer = JSON.parse(await this.#line()) as Answer
    return answer
  }

  async #line(): Promise<string> {
    const next = await this.#lines?.next()
    if (next === undefined || next.done) throw new Error('the worker of vitest has ended')
    return next.value
  }

  /** What is over soonest first: one failure is enough. */
  #inOrder(asked: readonly string[] | undefined): Order['files'] {
    this.#msOf ??= new Map(JSON.parse(readFileSync(this.#times, 'utf8')) as [string, number][])
    const msOf = this.#msOf
    const ids = asked ?? [...msOf.keys()]
    const files = [...Map.groupBy(ids, (id) => id.split('#')[0] ?? '')].map(([path, own]) => {
      const times = own.map((id) => msOf.get(id) ?? 0)
      const ms = times.reduce((sum, one) => sum + one, 0)
      return { ms, order: { path, ids: own, timeoutMs: timeoutMs(Math.max(...times)) } }
    })
    return files.toSorted((one, other) => one.ms - other.ms).map(({ order }) => order)
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

function resultOf({ id, name, state, ms, at, error }: RanTest) {
  return {
    id,
    name,
    timeSpentMs: ms,
    fileName: resolve(id.split('#')[0] ?? ''),
    // Stryker counts from 0.
    ...(at !== undefined && { startPosition: { line: at.line - 1, column: at.column - 1 } }),
    status: STATUS[state],
    ...(state === 'fail' && { failureMessage: error ?? 'failed' }),
  }
}

/** As when a worker was left in a state in which it collects nothing: such a mutant has not lived on. */
function ranNothing({ tests, errors, hits }: Answer): boolean {
  return hits === 0 && errors.length === 0 && tests.every(({ state }) => state === 'skip')
}

/** With what vitest ended a test that took too long; undefined if none did. */
function timeOutOf({ tests, errors }: Answer): string | undefined {
  const failures = [...tests.map(({ error }) => error ?? ''), ...errors]
  return failures.find((error) => / timed out in \d/.test(error))
}

function patient(order: Order): Order {
  const files = order.files.map((file) => ({
    ...file,
    timeoutMs: (file.timeoutMs ?? 0) + PATIENCE_MS,
  }))
  return { ...order, files }
}

function judged(answer: Answer, hitLimit: number | undefined) {
  const { tests, errors, hits } = answer
  const nrOfTests = tests.filter(({ state }) => state !== 'skip').length
  if (hitLimit !== undefined && hits > hitLimit) {
    return { status: 'timeout', reason: `reached ${hits} times` }
  }
  const reason = timeOutOf(answer)
  if (reason !== undefined) return { status: 'timeout', reason }
  const failed = tests.filter(({ state }) => state === 'fail')
  if (failed.length > 0 || errors.length > 0) {
    const failureMessage = failed[0]?.error ?? errors[0] ?? 'failed'
    return { status: 'killed', killedBy: failed.map(({ id }) => id), failureMessage, nrOfTests }
  }
  return { status: 'survived', nrOfTests }
}

export const strykerPlugins = [{ kind: 'TestRunner', name: 'warm', injectableClass: WarmRunner }]
