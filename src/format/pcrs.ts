import { hash } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { hashBytes, type TpmHash } from './algorithms.ts'
import type { PcrEvent } from './pcr-event.ts'
import { PCR_MAX } from './tpm-pcr-selection.ts'

export const EV_NO_ACTION = 3
const EV_EFI_HCRTM_EVENT = 0x8000_0010
const STARTUP_LOCALITY = 'StartupLocality\0'
const HCRTM_LOCALITY = 4
// PCRs 17 to 22 start as all ones, and all others as zeros (PC Client Platform TPM Profile 4.6).
const DYNAMIC_FIRST = 17
const DYNAMIC_LAST = 22

type Bank = TpmHash['name']

/** PCR values by bank and number. A bank that is not here is one that the log says nothing of. */
export type ReplayedPcrs = ReadonlyMap<Bank, ReadonlyMap<number, Buffer>>

/** The PCRs of a TPM, as events extend them from its reset on. Each event costs one hash for each bank. */
export class Pcrs {
  readonly banks: ReadonlyMap<Bank, Map<number, Buffer>>
  readonly #broken = new Map<Bank, Set<number>>()
  readonly #digestOf: (event: PcrEvent, bank: Bank) => Buffer | undefined
  #locality: number | undefined
  #isPcr0Extended = false

  /** @param digestOf what an event extends a bank by */
  constructor(
    banks: Iterable<Bank>,
    digestOf = ({ digests }: PcrEvent, bank: Bank) => digests.get(bank),
  ) {
    this.#digestOf = digestOf
    this.banks = new Map([...banks].map((bank) => [bank, new Map<number, Buffer>()]))
  }

  /**
   * Extends what the event was measured into, in every bank.
   *
   * @throws MetabindError VERIFY_EVENT_LOG if it names no PCR that there is, or another start too late
   */
  apply(event: PcrEvent): void {
    const { pcr, type, data } = event
    if (pcr === undefined) return
    if (type === EV_NO_ACTION) {
      this.#startAtLocality(pcr, data)
      return
    }
    if (pcr > PCR_MAX) refuseLog(`PCR ${pcr}`)
    // Hardware measured the first code before TPM2_Startup: PCR 0 starts as 4 (TPM 2.0 Part 1, 34.3). Some
    // firmware logs the measurement and no locality. Behind the first event of PCR 0 it means nothing.
    if (pcr === 0 && type === EV_EFI_HCRTM_EVENT) this.#locality ??= HCRTM_LOCALITY
    for (const bank of this.banks.keys()) this.#extend(bank, pcr, this.#digestOf(event, bank))
  }

  /** @param digest undefined if it is not known: then nobody knows the PCR's value from here on */
  #extend(bank: Bank, pcr: number, digest: Buffer | undefined): void {
    const value = this.valueOf(bank, pcr)
    if (pcr === 0) this.#isPcr0Extended = true
    if (digest !== undefined && value !== undefined) {
      this.banks.get(bank)?.set(pcr, hash(bank, Buffer.concat([value, digest]), 'buffer'))
      return
    }
    this.banks.get(bank)?.delete(pcr)
    this.#broken.set(bank, (this.#broken.get(bank) ?? new Set()).add(pcr))
  }

  /** As the events so far left it; its first value if there was none. Undefined if it is not known. */
  valueOf(bank: Bank, pcr: number): Buffer | undefined {
    if (this.#broken.get(bank)?.has(pcr)) return undefined
    return this.banks.get(bank)?.get(pcr) ?? this.#initial(bank, pcr)
  }

  /** StartupLocality: PCR 0 starts as the locality of TPM2_Startup; only before anything is extended. */
  #startAtLocality(pcr: number, data: Buffer): void {
    const isLocality = pcr === 0 && data.toString('latin1', 0, 16) === STARTUP_LOCALITY
    if (!isLocality || data.length !== 17) return
    if (this.#isPcr0Extended) refuseLog('StartupLocality after PCR 0 was extended')
    this.#locality = data.readUInt8(16)
  }

  #initial(bank: Bank, pcr: number): Buffer {
    const bytes = hashBytes(bank)
    const isDynamic = pcr >= DYNAMIC_FIRST && pcr <= DYNAMIC_LAST
    const value = Buffer.alloc(bytes, isDynamic ? 0xff : 0)
    if (pcr === 0) value.writeUInt8(this.#locality ?? 0, bytes - 1)
    return value
  }
}

export function refuseLog(why: string): never {
  throw new MetabindError('VERIFY_EVENT_LOG', `Found: ${why}.`)
}
