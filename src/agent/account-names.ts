import { readFileAtMost } from '../storage/read-at-most.ts'

const FILE = '/etc/passwd'
const FILE_BYTES_MAX = 1_048_576
const KEPT_MS = 60_000
const NAME_CHARACTERS_MAX = 64

let kept: { readonly names: ReadonlyMap<number, string>; readonly untilMs: number } | undefined

/** Names of uids, for people who look at the status: of the file alone, and not older than a minute. */
export function accountNames(): (uid: number) => string | undefined {
  const nowMs = performance.now()
  if (kept === undefined || nowMs > kept.untilMs) {
    kept = { names: readNames(), untilMs: nowMs + KEPT_MS }
  }
  const { names } = kept
  return (uid) => names.get(uid)
}

function readNames(): Map<number, string> {
  try {
    const lines = readFileAtMost(FILE, FILE_BYTES_MAX).toString('utf8').split('\n')
    // The first line of a uid counts, as for getpwuid(3).
    return new Map(lines.toReversed().flatMap(entryOf))
  } catch {
    return new Map()
  }
}

function entryOf(line: string): [number, string][] {
  const [name = '', , uid = ''] = line.split(':')
  return /^\d{1,10}$/.test(uid) ? [[Number(uid), name.slice(0, NAME_CHARACTERS_MAX)]] : []
}
