import { expect } from 'vitest'
import { blocksOf } from '../pages/block.ts'

/** A program that docs/sdks.md shows, with other addresses put in the place of those that stand there. */
export function recipe(name: string, addresses: Readonly<Record<string, string>>): string {
  const block = blocksOf('docs/sdks.md').find(
    ({ mark }) => mark.kind === 'file' && mark.name === name,
  )
  return Object.entries(addresses).reduce((text, [there, here]) => {
    expect(text, name).toContain(there)
    return text.replace(there, here)
  }, block?.lines.join('\n') ?? '')
}
