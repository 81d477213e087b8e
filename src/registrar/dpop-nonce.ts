import { createHmac, timingSafeEqual } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import type { MasterKey } from '../registrar-keys/master-key.ts'

/** A proof must reach the registrar within this of its nonce. */
export const DPOP_NONCE_LIFE_MS = 300_000

const TIME_BYTES = 8
const MAC_BYTES = 16
const MAC = /^[A-Za-z0-9_-]{32}$/

/**
 * Nonces of RFC 9449, 8 without a table: the time in milliseconds and an HMAC over it, which every replica knows. Who
 * signed a proof cannot have done so before its nonce was made.
 */
export interface DpopNonces {
  make(nowMs: number): string
  /** @returns when it was made @throws MetabindError REGISTRAR_DPOP_NONCE if it is another's, or too old */
  issuedAtMs(nonce: string, nowMs: number): number
}

export function dpopNonces(master: Pick<MasterKey, 'derive'>): DpopNonces {
  const key = master.derive('dpop nonce')
  const macOf = (time: Uint8Array) =>
    createHmac('sha256', key.reveal()).update(time).digest().subarray(0, MAC_BYTES)
  return {
    make: (nowMs) => {
      const time = Buffer.alloc(TIME_BYTES)
      time.writeBigUInt64BE(BigInt(Math.trunc(nowMs)))
      return Buffer.concat([time, macOf(time)]).toString('base64url')
    },
    issuedAtMs: (nonce, nowMs) => {
      const bytes = Buffer.from(MAC.test(nonce) ? nonce : '', 'base64url')
      const time = bytes.subarray(0, TIME_BYTES)
      const isOurs =
        bytes.length === TIME_BYTES + MAC_BYTES &&
        timingSafeEqual(macOf(time), bytes.subarray(TIME_BYTES))
      if (!isOurs) throw new MetabindError('REGISTRAR_DPOP_NONCE')
      const issuedAtMs = Number(time.readBigUInt64BE())
      if (nowMs - issuedAtMs > DPOP_NONCE_LIFE_MS) throw new MetabindError('REGISTRAR_DPOP_NONCE')
      return issuedAtMs
    },
  }
}
