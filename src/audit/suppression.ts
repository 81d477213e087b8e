import { ratePerUid } from '../rate-limit.ts'
import { type Owner, ROOT } from '../shares.ts'
import { type Counted, type LinesLeft, OTHERS, type WriteRecord } from './counted.ts'
import { isOfContainer } from './owner.ts'

// Refusals cost their caller nothing.
export const REFUSALS = { perSecond: 20, burst: 200 }
const SUPPRESSED_EVERY_MS = 10_000
/** Owners whose refusals are counted apart; further ones are counted together. */
const OWNERS_MAX = 4096

/**
 * Refusals: one owner may cause some records of them at once and some a second. Of the rest of a flood the
 * number is recorded every ten seconds.
 */
export function suppression(
  clockMs: () => number,
  linesLeft: LinesLeft,
  write: WriteRecord,
): Counted {
  const rates = { host: ratePerUid(REFUSALS, clockMs), container: ratePerUid(REFUSALS, clockMs) }
  const counts = new Map<Owner, { readonly uid: number | undefined; count: number }>()
  let timer: NodeJS.Timeout | undefined
  const writeCount = (owner: Owner): void => {
    const { uid, count } = counts.get(owner) ?? { uid: undefined, count: 0 }
    counts.delete(owner)
    write({ event: 'audit.suppressed', uid, detail: owner, suppressed: count }, owner)
  }
  const report = (): void => {
    for (const owner of [...counts.keys()]) if (linesLeft(owner)) writeCount(owner)
    timer = undefined
    reportLater()
  }
  const reportLater = (): void => {
    if (counts.size > 0) timer ??= setTimeout(report, SUPPRESSED_EVERY_MS).unref()
  }
  return {
    take: (record, owner) => {
      const uid = record.caller?.uid ?? record.uid
      const rate = isOfContainer(record) ? rates.container : rates.host
      if (rate.take(uid) === 0 && linesLeft(owner)) {
        write(record, owner)
        return true
      }
      const isKnown = counts.has(owner) || counts.size < OWNERS_MAX || owner === ROOT
      const counted = isKnown ? owner : OTHERS
      const before = counts.get(counted)?.count ?? 0
      counts.set(counted, { uid: isKnown ? uid : undefined, count: before + 1 })
      reportLater()
      return false
    },
    end: () => {
      clearTimeout(timer)
      for (const owner of [...counts.keys()]) writeCount(owner)
    },
  }
}
