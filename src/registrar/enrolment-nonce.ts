import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import type { MasterKey } from '../registrar-keys/master-key.ts'

/** Evidence must be made, and reach the registrar, within this of its nonce. */
export const NONCE_LIFE_MS = 300_000

/** Clocks of replicas differ by less. */
export const SKEW_MS = 60_000

const RANDOM_BYTES = 24
const TIME_BYTES = 8
const NONCE_BYTES = 64

/**
 * Nonces without a table: 24 random bytes, the time in milliseconds, and an HMAC over both. Any replica knows those of
 * the others, and until evidence for one comes nobody who asks for one makes the registrar remember anything. That each
 * is used once is the repository's to hold.
 */
export interface EnrolmentNonces {
  make(nowMs: number): Buffer
  /** @returns when it was made @throws MetabindError ENROL_NONCE if it is another's, or too old */
  issuedAtMs(nonce: Uint8Array, nowMs: number): number
}

export function enrolmentNonces(master: MasterKey): EnrolmentNonces {
  const key = master.derive('nonce')
  const macOf = (body: Uint8Array) => createHmac('sha256', key.reveal()).update(body).digest()
  return {
    make: (nowMs) => {
      const time = Buffer.alloc(TIME_BYTES)
      time.writeBigUInt64BE(BigInt(Math.trunc(nowMs)))
      const body = Buffer.concat([randomBytes(RANDOM_BYTES), time])
      return Buffer.concat([body, macOf(body)])
    },
    issuedAtMs: (nonce, nowMs) => {
      if (nonce.length !== NONCE_BYTES) throw new MetabindError('ENROL_NONCE', 'another length.')
      const body = Buffer.from(nonce.subarray(0, RANDOM_BYTES + TIME_BYTES))
      const isOurs = timingSafeEqual(macOf(body), nonce.subarray(RANDOM_BYTES + TIME_BYTES))
      if (!isOurs) throw new MetabindError('ENROL_NONCE', 'not made here.')
      const issuedAtMs = Number(body.readBigUInt64BE(RANDOM_BYTES))
      if (nowMs - issuedAtMs > NONCE_LIFE_MS) throw new MetabindError('ENROL_NONCE', 'too old.')
      // The clock was set back: it would live on when it is forgotten that it was used.
      if (issuedAtMs - nowMs > SKEW_MS) throw new MetabindError('ENROL_NONCE', 'of the future.')
      return issuedAtMs
    },
  }
}
