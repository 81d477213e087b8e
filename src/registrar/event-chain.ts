import { CHAIN_ORIGIN, type ChainHead, encodeBody, encodeLine } from '../audit/chain.ts'
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
