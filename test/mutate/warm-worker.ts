import { connect, type Socket } from 'node:net'
import { relative } from 'node:path'
import { createInterface } from 'node:readline'
import fc from 'fast-check'
import { type RunnerTestFile, type RunnerTestSuite, TestRunner, vi } from 'vitest'
// How vitest's own runner runs a file.
import { startTests } from 'vitest/internal/browser'
import { keepRsaKeys } from './kept-keys.ts'
import type { Answer, Coverage, Order, RanTest } from './orders.ts'

/** What Stryker's instrumented code looks at. */
interface Stryker {
  activeMutant?: string | undefined
  currentTestId?: string | undefined
  hitCount?: number | undefined
  hitLimit?: number | undefined
  mutantCoverage?: Coverage | undefined
}
globalThis.__stryker__ ??= {}
const stryker: Stryker = globalThis.__stryker__

// A property that fails need not find its smallest example here.
fc.configureGlobal({ endOnFailure: true })
keepRsaKeys()
// A TPM and evidence of it: what nearly each file of the verifier's tests begins with.
globalThis.keptBetweenMutants = {}

type Task = RunnerTestFile | RunnerTestSuite | RunnerTestSuite['tasks'][number]

/** The same name in the sandbox of every worker, whatever its place. */
const idOf = (file: string, names: readonly string[]) =>
  `${relative(process.cwd(), file)}#${names.join(' > ')}`

function namesOf(task: Task): string[] {
  return task.suite === undefined ? [task.name] : [...namesOf(task.suite), task.name]
}

function testId(task: Task): string {
  return idOf(task.file.filepath, namesOf(task))
}

/** Runs the tests of an order with its mutant, and tells vitest's main process nothing of it. */
class Quiet extends TestRunner {
  readonly #order: Order
  #failed = false

  constructor(config: TestRunner['config'], order: Order) {
    super(config)
    this.#order = order
  }

  onCollected(files: RunnerTestFile[]): void {
    for (const file of files) this.#select(file, idsOf(this.#order, file.filepath))
  }

  onBeforeRunFiles(): void {
    if (this.#order.mutant !== undefined) stryker.activeMutant = this.#order.mutant.id
  }

  override async onBeforeRunTask(test: Parameters<TestRunner['onBeforeRunTask']>[0]) {
    if (this.#failed) test.mode = 'skip'
    stryker.currentTestId = testId(test)
    await super.onBeforeRunTask(test)
  }

  override onAfterRunTask(test: Parameters<TestRunner['onAfterRunTask']>[0]): void {
    stryker.currentTestId = undefined
    // One that fails is enough to kill a mutant.
    this.#failed ||= this.#order.mutant !== undefined && test.result?.state === 'fail'
    super.onAfterRunTask(test)
  }

  #select(task: Task, ids: ReadonlySet<string> | undefined): boolean {
    if (ids === undefined) return true
    const isWanted =
      'tasks' in task
        ? task.tasks.map((child) => this.#select(child, ids)).includes(true)
        : ids.has(testId(task))
    if (!isWanted) task.mode = 'skip'
    return isWanted
  }
}

function idsOf(order: Order, filepath: string): ReadonlySet<string> | undefined {
  const ids = order.files.find(({ path }) => path === relative(process.cwd(), filepath))?.ids
  return ids === undefined ? undefined : new Set(ids)
}

const loose: string[] = []
process.on('uncaughtException', (error) => loose.push(String(error)))
process.on('unhandledRejection', (error) => loose.push(String(error)))

/** The runner of the one file that vitest knows of: before it is collected, all orders are carried out. */
export default class WarmWorker extends TestRunner {
  async onBeforeCollect(): Promise<void> {
    const socket = connect(process.env['MUTATE_SOCKET'] ?? '')
    socket.write(`${JSON.stringify({ pid: process.pid })}\n`)
    for await (const line of createInterface(socket)) {
      await this.#answer(socket, JSON.parse(line) as Order)
    }
  }

  async #answer(socket: Socket, order: Order): Promise<void> {
    const answer = await this.#carryOut(order)
    socket.write(`${JSON.stringify(answer)}\n`)
  }

  async #carryOut(order: Order): Promise<Answer> {
    loose.length = 0
    stryker.hitCount = 0
    stryker.hitLimit = order.mutant?.hitsMax
    stryker.mutantCoverage = order.mutant === undefined ? { static: {}, perTest: {} } : undefined
    const tests: RanTest[] = []
    const errors: string[] = []
    for (const { path, timeoutMs = this.config.testTimeout } of order.files) {
      const file = await this.#run(path, timeoutMs, order)
      const ran = testsOf(file)
      tests.push(...ran)
      if (file.result?.state === 'fail' && !ran.some(({ state }) => state === 'fail')) {
        errors.push(file.result.errors?.[0]?.message ?? 'a hook failed')
      }
      if (order.mutant !== undefined && file.result?.state === 'fail') break
    }
    stryker.activeMutant = undefined
    const { mutantCoverage: coverage, hitCount: hits = 0 } = stryker
    return {
      tests,
      errors: [...errors, ...loose],
      isLeftRunning: loose.length > 0,
      hits,
      ...(coverage !== undefined && { coverage }),
    }
  }

  /** Each time from the start: what a mutant left in a module is not there for the next one. */
  async #run(path: string, timeoutMs: number, order: Order): Promise<RunnerTestFile> {
    vi.useRealTimers()
    vi.restoreAllMocks()
    vi.resetConfig()
    vi.resetModules()
    stryker.activeMutant = order.mutant?.whileLoading ? order.mutant.id : undefined
    const bounds = { testTimeout: timeoutMs, hookTimeout: timeoutMs }
    const quiet = new Quiet({ ...this.config, ...bounds }, order)
    const { moduleRunner, _otel } = this as unknown as { moduleRunner: unknown; _otel: unknown }
    Object.assign(quiet, { moduleRunner, _otel })
    const files: RunnerTestFile[] = await startTests(
      [{ filepath: `${process.cwd()}/${path}` }],
      quiet,
    )
    const [file] = files
    if (file === undefined) throw new Error(`${path} was not collected`)
    return file
  }
}

function testsOf(suite: RunnerTestSuite): RanTest[] {
  return suite.tasks.flatMap((task): RanTest[] => {
    if (task.type === 'suite') return testsOf(task)
    const state =
      task.result?.state === 'pass' || task.result?.state === 'fail' ? task.result.state : 'skip'
    const error = task.result?.errors?.[0]?.message
    return [
      {
        id: testId(task),
        name: namesOf(task).slice(1).join(' > '),
        state,
        ms: task.result?.duration ?? 0,
        ...(task.location !== undefined && { at: task.location }),
        ...(error !== undefined && { error }),
      },
    ]
  })
}
