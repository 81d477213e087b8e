import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import type { Answered } from '../../src/metadata/cached-reads.ts'
import type { Metadata } from '../../src/metadata/metadata.ts'
import { type HeldSource, heldSource } from '../harness/held-source.ts'
import { cacheCommands, outside, partsOf } from './cache-commands.ts'
import { listOfRoles } from './refresh-replay.ts'

/**
 * What `refresh` leaves out, as it visits all states of one path: several paths, which fall silent together, and push each
 * other out of the cache.
 */

// A busy machine takes minutes.
const LONG_MS = 600_000

let source: HeldSource
beforeAll(async () => {
  source = await heldSource(listOfRoles)
})
afterAll(() => source[Symbol.asyncDispose]())
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

async function run(wrapped: (metadata: Metadata) => Metadata, parameters: fc.Parameters<unknown>) {
  const property = fc.asyncProperty(cacheCommands, async (drawn) => {
    const { parts, close } = partsOf(source, wrapped)
    try {
      await fc.asyncModelRun(() => ({ model: outside(), real: parts }), drawn)
    } finally {
      await close()
      while (source.held.length > 0) await setImmediate()
    }
  })
  return fc.check(property, parameters)
}

test(
  'whoever reads gets what the source said last, while it may be given, and no path is asked for twice at once',
  async () => {
    const details = await run((metadata) => metadata, { numRuns: 200 })
    expect(details.failed && `${fc.defaultReportMessage(details)}\n${details.errorInstance}`).toBe(
      false,
    )
  },
  LONG_MS,
)

/** Gives again what was given first, as a cache without an end would. */
function withoutEnd(metadata: Metadata): Metadata {
  const first = new Map<string, Answered>()
  return {
    ...metadata,
    get state() {
      return metadata.state
    },
    read: (target, how) => {
      const known = first.get(target.path)
      if (known !== undefined) return known
      const given = metadata.read(target, how)
      if (!(given instanceof Promise)) first.set(target.path, given)
      return given
    },
  }
}

test(
  'a cache that gives for ever what it gave once would be noticed',
  async () => {
    const { failed } = await run(withoutEnd, { numRuns: 2000, endOnFailure: true })
    expect(failed).toBe(true)
  },
  LONG_MS,
)
