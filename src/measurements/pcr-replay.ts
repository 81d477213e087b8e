import { hash } from 'node:crypto'
import type { TpmHash } from '../format/algorithms.ts'
import { paddedSha1 } from '../format/ima-log.ts'
import type { LogName, PcrEvent } from '../format/pcr-event.ts'
import { EV_NO_ACTION, Pcrs } from '../format/pcrs.ts'
import type { Logs } from './logs.ts'
import type { PcrValues } from './pcr-quote.ts'

/**
 * Which events lead to the quoted values. The firmware's log is complete before anything else runs, systemd's and
 * IMA's go on from it, and CEL tells all of a PCR by itself. Logs that grow are read after the quote, so the quote
 * is somewhere in them: each step is compared with the quoted value, in one pass, and what is logged behind the last
 * event that was quoted is not believed.
 */

type Bank = TpmHash['name']

/** A PCR whose quoted value is what logged events lead to. */
export interface ReplayedPcr {
  readonly bank: Bank
  readonly pcr: number
  /** Those that lead to the value, in order. None: nothing was ever measured into it. */
  readonly events: readonly PcrEvent[]
  /** How many are logged behind those, of which the quote says nothing. */
  readonly laterEvents: number
}

type DigestOf = (event: PcrEvent, bank: Bank) => Buffer | undefined

const ownDigest: DigestOf = ({ digests }, bank) => digests.get(bank)
const paddedDigest: DigestOf = (event, bank) =>
  event.log === 'ima' ? paddedSha1(event, bank) : ownDigest(event, bank)

/**
 * @param quoted values whose digest the quote was found to carry
 * @returns the quoted PCRs that are replayed; what is not here no log explains
 * @throws MetabindError VERIFY_EVENT_LOG if a log names no PCR that there is
 */
export function replayedPcrs(logs: Logs, quoted: PcrValues): ReplayedPcr[] {
  const first = logs.firmware?.events ?? []
  const grown = [...logs.systemd, ...logs.ima]
  const own = walk(first, grown, quoted, ownDigest)
  // Old kernels filled SHA-1 up in all banks; one boot has one kernel, so a PCR is replayed by one of both rules.
  const padded = walk(first, logs.ima.length === 0 ? [] : grown, without(quoted, own), paddedDigest)
  const known = [...own, ...padded.map(asExtended)]
  const told = walk([], logs.cel, without(quoted, known), ownDigest)
  // Of a PCR that CEL does not name it says nothing, not even that nothing was measured into it.
  return [...known, ...told.filter(({ events }) => events.length > 0)]
}

/** SHA-1 is all that such a PCR has of its events: a digest of the bank is of whatever else has the same SHA-1, too. */
function asExtended(replayed: ReplayedPcr): ReplayedPcr {
  const { bank } = replayed
  const events = replayed.events.map((event) => {
    const digest = paddedDigest(event, bank)
    return digest === undefined
      ? event
      : { ...event, digests: new Map(event.digests).set(bank, digest) }
  })
  return { ...replayed, events }
}

function walk(
  complete: readonly PcrEvent[],
  growing: readonly PcrEvent[],
  quoted: PcrValues,
  digestOf: DigestOf,
): ReplayedPcr[] {
  const pcrs = new Pcrs(quoted.keys(), digestOf)
  for (const event of complete) pcrs.apply(event)
  const found = [...quoted].flatMap(([bank, values]) =>
    [...values.keys()].map((pcr) => ({ bank, pcr, at: isAt(pcrs, quoted, bank, pcr) ? 0 : -1 })),
  )
  const wanted = new Map(found.map((each) => [`${each.bank} ${each.pcr}`, each]))
  growing.forEach((event, index) => {
    pcrs.apply(event)
    if (event.pcr === undefined) return
    for (const bank of quoted.keys()) {
      const each = wanted.get(`${bank} ${event.pcr}`)
      if (each !== undefined && isAt(pcrs, quoted, bank, event.pcr)) each.at = index + 1
    }
  })
  return found
    .filter(({ at }) => at >= 0)
    .map(({ bank, pcr, at }) => {
      // EV_NO_ACTION is in no PCR.
      const isOfPcr = (event: PcrEvent) => event.pcr === pcr && event.type !== EV_NO_ACTION
      const events = [...complete, ...growing.slice(0, at)].filter(isOfPcr)
      return { bank, pcr, events, laterEvents: growing.slice(at).filter(isOfPcr).length }
    })
}

function isAt(pcrs: Pcrs, quoted: PcrValues, bank: Bank, pcr: number): boolean {
  const value = quoted.get(bank)?.get(pcr)
  return value !== undefined && pcrs.valueOf(bank, pcr)?.equals(value) === true
}

function without(quoted: PcrValues, known: readonly ReplayedPcr[]): PcrValues {
  const isKnown = (bank: Bank, pcr: number) =>
    known.some((each) => each.bank === bank && each.pcr === pcr)
  return new Map(
    [...quoted].map(([bank, values]) => [
      bank,
      new Map([...values].filter(([pcr]) => !isKnown(bank, pcr))),
    ]),
  )
}

/** The logs that an event's PCR was replayed from. */
export function logsOf({ events }: ReplayedPcr): LogName[] {
  return [...new Set(events.map(({ log }) => log))]
}

/** What an event says was measured, if that is what its digest in the bank is of; else undefined. */
export function provenContent({ digests, data }: PcrEvent, bank: Bank): Buffer | undefined {
  return digests.get(bank)?.equals(hash(bank, data, 'buffer')) ? data : undefined
}
