import type { TestContext } from 'vitest'

/**
 * Skips a test if this process is not root. Reporters count skipped tests but keep the reason to
 * themselves, so it is said on standard error too.
 */
export function requireRoot(context: TestContext, why: string): void {
  if (process.getuid?.() === 0) return
  process.stderr.write(`skipped: ${context.task.name}: ${why}\n`)
  context.skip(why)
}
