import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Inputs that are kept with the sources, a file a target, in base64, one a line: `corpus/` has the few that
 * reach everything that was ever reached, `found/` what was once a fault, behind a line that says which.
 */

const FOLDER = fileURLToPath(new URL('.', import.meta.url))

/** @param kind `corpus` or `found` @returns in the order of the file; none if there is no file */
export function keptInputs(kind: 'corpus' | 'found', target: string): Buffer[] {
  const path = join(FOLDER, kind, `${target}.txt`)
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return lines.filter((line) => !line.startsWith('#')).map((line) => Buffer.from(line, 'base64'))
}

export function writeCorpus(target: string, lines: string): void {
  mkdirSync(join(FOLDER, 'corpus'), { recursive: true })
  writeFileSync(join(FOLDER, 'corpus', `${target}.txt`), lines)
}

/** Lays inputs out as the fuzzer wants them: a file each, in a folder. */
export function layOut(folder: string, inputs: readonly Buffer[]): void {
  mkdirSync(folder, { recursive: true })
  for (const input of inputs) {
    writeFileSync(join(folder, createHash('sha1').update(input).digest('hex')), input)
  }
}
