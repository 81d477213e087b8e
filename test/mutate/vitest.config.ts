import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** One worker that stays, and is told by warm-runner.ts which tests to run with which mutant. */
export default defineConfig({
  test: {
    include: [here('told.ts')],
    runner: here('warm-worker.ts'),
    pool: 'forks',
    isolate: false,
    // Stryker tells by it which tests changed since the last run.
    includeTaskLocation: true,
    maxWorkers: 1,
    maxConcurrency: 1,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 5000 } },
    reporters: [{}],
    onConsoleLog: () => false,
  },
})
