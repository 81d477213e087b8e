import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/**
 * Runs a script in a process of its own, with `openTpm` and `process.argv[1]` at hand.
 *
 * @returns what it printed
 */
export async function inChild(
  script: string,
  argument: string,
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const entry = JSON.stringify(import.meta.resolve('../src/tpm.ts'))
  const code = `const { openTpm } = await import(${entry})\n${script}`
  const args = ['--input-type=module', '-e', code, argument]
  const options = { env: { ...process.env, ...env }, timeout: 60_000 }
  return (await promisify(execFile)(process.execPath, args, options)).stdout
}
