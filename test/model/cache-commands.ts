import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { vi } from 'vitest'
import { aliyun } from '../../src/dialect/aliyun.ts'
import { MetabindError } from '../../src/errors.ts'
import type { Answered } from '../../src/metadata/cached-reads.ts'
import { lifetimesBy } from '../../src/metadata/lifetimes.ts'
import { type Metadata, metadataFrom } from '../../src/metadata/metadata.ts'
import { openSource } from '../../src/metadata/source.ts'
import { ofPath } from '../../src/metadata/target.ts'
import type { HeldSource } from '../harness/held-source.ts'

/** Several paths that share a cache too small for them and a source that answers, fails or is late, at any moments. */

const HOUR_MS = 3_600_000
const WITHIN_MS = 1000
const ENTRIES_MAX = 3
const nothing = () => undefined

const CREDENTIALS = '/latest/meta-data/ram/security-credentials/app'
/** How long an answer may be given: credentials as they say, the others as docs/caching.md says. */
const LIFE_MS: Readonly<Record<string, number>> = {
  [CREDENTIALS]: 6 * HOUR_MS,
  '/latest/meta-data/network-type': Number.POSITIVE_INFINITY,
  '/latest/meta-data/hostname': 24 * HOUR_MS,
  '/latest/meta-data/dns-conf/nameservers': 24 * HOUR_MS,
  '/latest/meta-data/eipv4': 60_000,
}
const PATHS = Object.keys(LIFE_MS)
const lifeMs = (path: string) => LIFE_MS[path] ?? 0

/** What the source has said of a path last. */
interface Said {
  readonly number: number
  readonly atMs: number
}

/** What somebody outside knows: all that the source has said. */
export interface Outside {
  nowMs: number
  readonly said: Map<string, Said>
}

interface Parts {
  readonly source: HeldSource
  readonly metadata: Metadata
  readonly clock: { ms: number }
  readonly readers: Reader[]
}

interface Reader {
  readonly path: string
  /** What it was told: the number of an answer, or a code. Undefined while it waits. */
  told: { readonly number: number } | { readonly code: string } | undefined
}

export const outside = (): Outside => ({ nowMs: 100 * HOUR_MS, said: new Map() })

export function partsOf(source: HeldSource, wrapped: (metadata: Metadata) => Metadata) {
  const clock = { ms: 100 * HOUR_MS }
  const clocks = { bootTimeMs: () => clock.ms, wallTimeMs: () => clock.ms, random: () => 0 }
  const bounds = { connectTimeoutMs: HOUR_MS, timeoutMs: 100 * HOUR_MS, answerBytesMax: 10_000 }
  const upstream = openSource(aliyun, source.url, bounds, clocks.bootTimeMs)
  const metadata = metadataFrom({
    source: upstream,
    dialect: aliyun,
    lifetimeOf: lifetimesBy(aliyun.lifetimes),
    bounds: { entriesMax: ENTRIES_MAX, bytesMax: 1_000_000 },
    clocks,
    answerWithinMs: WITHIN_MS,
    ...{ onSource: nothing, onRefreshFailed: nothing, onUnusable: nothing },
    ...{ onRole: nothing, onCached: nothing },
  })
  const parts: Parts = { source, metadata: wrapped(metadata), clock, readers: [] }
  return { parts, close: () => upstream.close() }
}

type Command = fc.AsyncCommand<Outside, Parts>
const command = (name: string, run: Command['run']): Command => ({
  check: () => true,
  run: async (model, parts) => {
    await run(model, parts)
    await settle(parts)
    holds(model, parts)
  },
  toString: () => name,
})

const TURNS_MAX = 100_000

/** Until the source has got what it is asked, and the cache what it has been answered. */
async function settle({ metadata, source }: Parts): Promise<void> {
  for (let turns = 0; metadata.state.upstreamUnderWay !== source.held.length; turns += 1) {
    if (turns > TURNS_MAX)
      throw new Error('the source is asked for other reads than the cache knows')
    await setImmediate()
  }
  await setImmediate()
}

/** What must never happen. */
function holds({ nowMs, said }: Outside, { source, metadata, readers }: Parts): void {
  const targets = source.held.map(({ target }) => target)
  if (new Set(targets).size < targets.length) throw new Error('two reads of one path are under way')
  if (metadata.state.entries > ENTRIES_MAX) throw new Error('more is cached than may be')
  for (const { path, told } of readers.filter((reader) => reader.told !== undefined)) {
    if (told === undefined || 'code' in told) continue
    const last = said.get(path)
    if (last?.number !== told.number)
      throw new Error(`${path}: not what the source said last of it`)
    if (nowMs >= last.atMs + lifeMs(path)) throw new Error(`${path}: what has ended is given`)
  }
  for (const path of PATHS) {
    const isAsked = targets.includes(path)
    const waits = readers.some((reader) => reader.path === path && reader.told === undefined)
    if (waits && !isAsked) throw new Error(`${path}: somebody waits for nothing`)
  }
  readers.splice(0, readers.length, ...readers.filter(({ told }) => told === undefined))
}

function tell(reader: Reader, { item }: Answered): void {
  const text = item?.body.toString() ?? ''
  const [, path, number] = /(\/latest\S*) (\d+)/.exec(text) ?? []
  reader.told = path === reader.path ? { number: Number(number) } : { number: Number.NaN }
}

function read(path: string, fresh: boolean): Command {
  return command(`read(${path}${fresh ? ', fresh' : ''})`, async (_, { metadata, readers }) => {
    const reader: Reader = { path, told: undefined }
    readers.push(reader)
    const refused = (error: unknown) => {
      reader.told = { code: error instanceof MetabindError ? error.code : String(error) }
    }
    try {
      const given = metadata.read(ofPath(path), { fresh })
      if (given instanceof Promise) given.then((answered) => tell(reader, answered), refused)
      else tell(reader, given)
    } catch (error) {
      refused(error)
    }
  })
}

/** The source answers, or fails, one of what it is asked. */
function answer(which: number, isGood: boolean): Command {
  return command(`answer(${which}${isGood ? '' : ', fails'})`, async (model, { source }) => {
    const one = source.held[which % Math.max(source.held.length, 1)]
    if (one === undefined) return
    if (!isGood) {
      one.answer(500)
      return
    }
    const number = (model.said.get(one.target)?.number ?? 0) + 1
    model.said.set(one.target, { number, atMs: model.nowMs })
    one.answer(200, bodyOf(one.target, number, model.nowMs))
  })
}

function bodyOf(path: string, number: number, nowMs: number): string {
  if (path !== CREDENTIALS) return `${path} ${number}`
  const time = (at: number) => new Date(at).toISOString().replace(/\.\d+Z$/, 'Z')
  return JSON.stringify({
    ...{ AccessKeyId: 'STS.a', AccessKeySecret: 'b', SecurityToken: `${path} ${number}` },
    ...{ Code: 'Success', LastUpdated: time(nowMs), Expiration: time(nowMs + lifeMs(path)) },
  })
}

function pass(seconds: number): Command {
  return command(`pass(${seconds} s)`, async (model, { clock }) => {
    model.nowMs += seconds * 1000
    clock.ms = model.nowMs
  })
}

/** Whoever waits has waited long enough; what they asked for stays under way. */
const late = command('late', async () => void (await vi.advanceTimersByTimeAsync(WITHIN_MS)))
const turn = command('turn', async (_, { metadata }) => metadata.turn())

const path = fc.constantFrom(...PATHS)
const which = fc.nat(3)
// Moments beside the ends of lives and of holding back are where something changes. Whole seconds, as credentials have.
const span = fc.oneof(
  fc.constantFrom(1, 2, 15, 24, 30, 59, 60, 330 * 60, 345 * 60, 6 * 3600 - 1, 6 * 3600, 24 * 3600),
  fc.nat(4 * 3600),
)

export const cacheCommands = fc.commands(
  [
    path.map((one) => read(one, false)),
    path.map((one) => read(one, false)),
    path.map((one) => read(one, true)),
    which.map((one) => answer(one, true)),
    which.map((one) => answer(one, true)),
    which.map((one) => answer(one, false)),
    span.map(pass),
    fc.constant(late),
    fc.constant(turn),
  ],
  { maxCommands: 50, size: 'max' },
)
