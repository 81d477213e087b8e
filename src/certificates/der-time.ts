import { MetabindError } from '../errors.ts'
import type { DerElement } from './der.ts'

const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
const DIGITS = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/

/** A time as RFC 5280 writes it (4.1.2.5): to the second, in UTC. @throws MetabindError VERIFY_CERTIFICATE */
export function derTime({ tag, content }: DerElement): Date {
  const text = content.toString('latin1')
  // Of two digits, 50 and later are those of 1950.
  const century = text < '5' ? '20' : '19'
  const whole = tag === UTC_TIME ? `${century}${text}` : tag === GENERALIZED_TIME ? text : ''
  const [, ...parts] = DIGITS.exec(whole) ?? []
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.map(Number)
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  date.setUTCHours(hour, minute, second)
  // 31 February becomes a day in March.
  const isReal = parts.length > 0 && date.toISOString().replace(/[-:T]|\.000/g, '') === whole
  if (!isReal) throw new MetabindError('VERIFY_CERTIFICATE', 'A date is none.')
  return date
}
