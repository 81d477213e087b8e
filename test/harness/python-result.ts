import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const SCRIPT = fileURLToPath(new URL('../results/read-result.py', import.meta.url))

/** What Debian's Python libraries make of a result. @throws Error if they refuse */
export function inPython(command: object): unknown {
  const line = `${JSON.stringify(command)}\n`
  return JSON.parse(execFileSync('/usr/bin/python3', [SCRIPT], { input: line, encoding: 'utf8' }))
}
