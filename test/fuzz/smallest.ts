import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FuzzTarget } from './target.ts'

/** The part of the fuzzer that counts: a byte for each edge of the instrumented program. */
interface Fuzzer {
  readonly coverageTracker: { readonly coverageMap: Buffer }
}

/**
 * Finds the few inputs of a corpus that reach what all of them reach, the shortest first. Runs inside the
 * fuzzer, in place of the target.
 *
 * @param folder of the corpus, with an input a file
 */
export async function keepSmallest(target: FuzzTarget, folder: string): Promise<void> {
  const { coverageMap } = (globalThis as unknown as { Fuzzer: Fuzzer }).Fuzzer.coverageTracker
  const inputs = readdirSync(folder)
    .map((name) => readFileSync(join(folder, name)))
    .sort((one, other) => one.length - other.length || Buffer.compare(one, other))
  // Once before counting: what is made at the first use counts for no input.
  for (const input of inputs.slice(0, 8)) await target.run(input)
  const reached = new Set<number>()
  const kept: Buffer[] = []
  for (const input of inputs) {
    coverageMap.fill(0)
    await target.run(input)
    const before = reached.size
    for (let at = 0; at < coverageMap.length; at += 1) if (coverageMap[at] !== 0) reached.add(at)
    if (reached.size > before) kept.push(input)
  }
  const lines = kept.map((input) => input.toString('base64'))
  writeFileSync(`${folder}.smallest`, lines.map((line) => `${line}\n`).join(''))
}
