import {
  CHAIN_BREAKS,
  CHAIN_ORIGIN,
  type ChainHead,
  decodeLine,
  encodeBody,
  encodeLine,
} from '../audit/chain.ts'
import { CHAIN_START } from '../audit/queue.ts'
import type { RegistrarEvent } from './repository.ts'

/** A line of the chain of events, with what the next one continues. */
export type EventLine = ReturnType<typeof encodeLine>

/**
 * The lines that events become behind the last one that was written. Whoever writes them holds the chain from before that
 * one was read until they are written, so that no other line continues it too.
 *
 * @param last the head that is stored; undefined if nothing is, and the chain begins with `chain.start`
 */
export function chainedLines(
  last: ChainHead | undefined,
  events: readonly RegistrarEvent[],
  nowMs: number,
): readonly EventLine[] {
  const time = new Date(nowMs).toISOString()
  const all = last === undefined && events.length > 0 ? [{ event: CHAIN_START }, ...events] : events
  let head = last ?? CHAIN_ORIGIN
  return all.map((event) => {
    const line = encodeLine(head.hash, head.seq + 1, encodeBody({ time, ...event }))
    head = line.head
    return line
  })
}

/** What a line makes of a chain: where it ends then, or why it does not go on. */
export type Continued = { readonly head: ChainHead } | { readonly broken: string }

/** Follows a chain of events by one line. There are no gaps in it, as each line is written with what it tells of. */
export function continuedBy(before: ChainHead, text: string): Continued {
  const line = decodeLine(text)
  if (line === undefined) return { broken: CHAIN_BREAKS.altered }
  const isFirst = before.seq === 0
  if (line.prev !== before.hash || line.seq !== before.seq + 1) {
    return { broken: CHAIN_BREAKS.displaced }
  }
  if ((line.record.event === CHAIN_START) !== isFirst) {
    return { broken: isFirst ? CHAIN_BREAKS.beginning : CHAIN_BREAKS.secondBeginning }
  }
  return { head: { seq: line.seq, hash: line.hash } }
}
