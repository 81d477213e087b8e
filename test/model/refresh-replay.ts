import { setImmediate } from 'node:timers/promises'
import { vi } from 'vitest'
import { aliyun } from '../../src/dialect/aliyun.ts'
import { MetabindError } from '../../src/errors.ts'
import type { Answered } from '../../src/metadata/cached-reads.ts'
import { lifetimesBy } from '../../src/metadata/lifetimes.ts'
import { metadataFrom } from '../../src/metadata/metadata.ts'
import { openSource } from '../../src/metadata/source.ts'
import { ofPath } from '../../src/metadata/target.ts'
import type { HeldSource } from '../harness/held-source.ts'
import { AGES, type Age, type Kind, type RefreshAction } from './refresh.ts'
import type { Real } from './replay.ts'

const MINUTE_MS = 60_000
const LIFE_MS = 6 * 60 * MINUTE_MS
const WITHIN_MS = 1000
// A quarter less than the longest wait, as the lot of this test is 0.
const BACK_OFF_MS = 11_300
const nothing = () => undefined

const PATHS: Readonly<Record<Kind, string>> = {
  credentials: '/latest/meta-data/ram/security-credentials/app',
  other: '/latest/meta-data/hostname',
}
/** When an age begins, after the answer. */
const BEGINS_MS: Readonly<Record<Kind, Partial<Record<Age, number>>>> = {
  credentials: {
    soon: LIFE_MS - 30 * MINUTE_MS,
    must: LIFE_MS - 15 * MINUTE_MS,
    ended: LIFE_MS,
  },
  other: { stale: 30_000, ended: 24 * 60 * MINUTE_MS },
}

/** The role that the turn looks for; its list is answered at once. */
export function listOfRoles(target: string): string | undefined {
  return target === '/latest/meta-data/ram/security-credentials/' ? 'app' : undefined
}

/**
 * Takes the steps of `refresh.ts` with the cache and a source over HTTP. The timers of whoever waits are the
 * test's own (vi.useFakeTimers).
 */
export async function realRefresh(kind: Kind, source: HeldSource): Promise<Real<RefreshAction>> {
  const target = ofPath(PATHS[kind])
  let ms = 100 * LIFE_MS
  let answeredAtMs = 0
  let age: Age = 'fresh'
  let waiting: Reader[] = []
  const clocks = { bootTimeMs: () => ms, wallTimeMs: () => ms, random: () => 0 }
  const bounds = { connectTimeoutMs: MINUTE_MS, timeoutMs: LIFE_MS, answerBytesMax: 10_000 }
  const upstream = openSource(aliyun, source.url, bounds, clocks.bootTimeMs)
  const metadata = metadataFrom({
    source: upstream,
    dialect: aliyun,
    lifetimeOf: lifetimesBy(aliyun.lifetimes),
    bounds: { entriesMax: 100, bytesMax: 1_000_000 },
    clocks,
    answerWithinMs: WITHIN_MS,
    ...{ onSource: nothing, onRefreshFailed: nothing, onUnusable: nothing },
    ...{ onRole: nothing, onCached: nothing },
  })
  /** Until the source has got what it is asked, and the cache what it has been answered. */
  const settle = async () => {
    for (let turns = 0; metadata.state.upstreamUnderWay !== source.held.length; turns += 1) {
      if (turns > TURNS_MAX)
        throw new Error('the source is asked for other reads than the cache knows')
      await setImmediate()
    }
    await setImmediate()
  }
  const read = async (fresh: boolean): Promise<string> => {
    const one = reader(() => metadata.read(target, { fresh }))
    await settle()
    if (one.said() !== undefined) return one.said() ?? ''
    waiting.push(one)
    return 'waits'
  }
  const told = async (how: string): Promise<string> => {
    await settle()
    const said = waiting.map((one) => one.said() ?? 'waits still')
    waiting = []
    return [how, ...said].join(' ')
  }
  return {
    take: {
      read: () => read(false),
      'read-fresh': () => read(true),
      turn: async () => {
        metadata.turn()
        await settle()
        return 'turned'
      },
      answers: () => {
        source.held[0]?.answer(200, kind === 'credentials' ? credentialsAt(ms) : 'a-name')
        answeredAtMs = ms
        age = 'fresh'
        return told('answers')
      },
      fails: () => {
        source.held[0]?.answer(500)
        return told('fails')
      },
      'too-late': async () => {
        await vi.advanceTimersByTimeAsync(WITHIN_MS)
        return told('late')
      },
      age: () => {
        age = AGES[kind][AGES[kind].indexOf(age) + 1] ?? 'ended'
        const begins = answeredAtMs + (BEGINS_MS[kind][age] ?? 0)
        if (begins < ms) throw new Error('the clock is beyond it already')
        ms = begins
        return 'older'
      },
      'back-off-ends': () => {
        ms += BACK_OFF_MS
        return 'later'
      },
    },
    shows: () => `${source.held.length} asked of the source`,
    [Symbol.asyncDispose]: async () => {
      await upstream.close()
      while (source.held.length > 0) await setImmediate()
    },
  }
}

const TURNS_MAX = 100_000

/** Somebody who reads, and what it was told. */
interface Reader {
  said(): string | undefined
}

function reader(read: () => Answered | Promise<Answered>): Reader {
  let said: string | undefined
  const tell = ({ cache }: Answered) => {
    said = cache
  }
  const refuse = (error: unknown) => {
    said = error instanceof MetabindError ? error.code : String(error)
  }
  const given = read()
  if (given instanceof Promise) given.then(tell, refuse)
  else tell(given)
  return { said: () => said }
}

function credentialsAt(ms: number): string {
  const time = (at: number) => new Date(at).toISOString().replace(/\.\d+Z$/, 'Z')
  return JSON.stringify({
    ...{ AccessKeyId: 'STS.a', AccessKeySecret: 'b', SecurityToken: 'c', Code: 'Success' },
    ...{ LastUpdated: time(ms), Expiration: time(ms + LIFE_MS) },
  })
}
