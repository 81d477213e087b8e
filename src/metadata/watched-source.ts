import { MetabindError } from '../errors.ts'
import type { Source } from './source.ts'

/** A source, and when it last answered and last failed. */
export interface WatchedSource extends Source {
  /** Times of the wall clock, for people who read them. */
  readonly last: {
    readonly answeredAtMs: number | undefined
    readonly failure: { readonly error: MetabindError; readonly atMs: number } | undefined
  }
}

/** That there is nothing at a path is an answer. */
export function watchedSource(source: Source, wallTimeMs: () => number): WatchedSource {
  let answeredAtMs: number | undefined
  let failure: WatchedSource['last']['failure']
  return {
    read: async (target) => {
      try {
        const item = await source.read(target)
        answeredAtMs = wallTimeMs()
        return item
      } catch (error) {
        const known = error instanceof MetabindError ? error : new MetabindError('INTERNAL')
        if (known.code === 'METADATA_ABSENT') answeredAtMs = wallTimeMs()
        else failure = { error: known, atMs: wallTimeMs() }
        throw error
      }
    },
    close: () => source.close(),
    get last() {
      return { answeredAtMs, failure }
    },
  }
}
