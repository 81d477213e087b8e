import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Runs a program with tpm2-pytss (the distribution's Python has it); hex in, JSON out. */
export async function pytss(program: string, ...args: string[]): Promise<unknown> {
  const { stdout } = await run('/usr/bin/python3', ['-c', program, ...args], {
    timeout: 240_000,
    maxBuffer: 16 * 1024 * 1024,
  })
  return JSON.parse(stdout)
}
