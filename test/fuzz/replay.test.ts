import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { keptInputs } from './corpus.ts'
import type { FuzzTarget } from './target.ts'

/** Every input that is kept with the sources, without the fuzzer: what was a fault once is none now. */

const TARGETS = readdirSync(fileURLToPath(new URL('targets', import.meta.url))).map((file) =>
  file.replace(/\.ts$/, ''),
)

describe.each(TARGETS)('%s', async (name) => {
  const { target }: { target: FuzzTarget } = await import(`./targets/${name}.ts`)

  test('holds for what it begins with, what was found, and its corpus', async () => {
    const inputs = [...target.seeds(), ...keptInputs('found', name), ...keptInputs('corpus', name)]
    expect(inputs.length).toBeGreaterThan(1)
    for (const input of inputs) {
      expect(input.length).toBeLessThanOrEqual(target.bytesMax)
      try {
        await target.run(input)
      } catch (error) {
        throw new Error(`input ${input.toString('base64')}`, { cause: error })
      }
    }
  })
})
