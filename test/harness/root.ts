import { type TestContext, TestRunner } from 'vitest'

/**
 * Skips a test if this process is not root. Reporters count skipped tests but keep the reason to
 * themselves, so it is said on standard error too.
 */
export function requireRoot(context: TestContext, why: string): void {
  if (process.getuid?.() === 0) return
  process.stderr.write(`skipped: ${context.task.name}: ${why}\n`)
  context.skip(why)
}

/** The same for what helpers do: skips the test that runs, if it wants another user and may not have one. */
export function requireRootFor(uid: number | undefined): void {
  if (uid !== undefined && uid !== process.getuid?.()) requireRootHere('a process of another user')
}

/** The same for namespaces and the like. */
export function requireRootHere(why: string): void {
  const context = TestRunner.getCurrentTest()?.context
  if (context !== undefined) requireRoot(context, why)
}
