import type { Measurements } from '../../src/measurements/proven-events.ts'
import type { Known, SuggestedRule } from '../../src/measurements/suggested-rules.ts'
import { measurementsOf } from './boot-events.ts'
import type { LoggedEvent } from './event-log.ts'

/** Machines that a policy is suggested from, without TPMs. */

export const knownOf = (...machines: readonly Measurements[]): Known => ({
  bank: 'sha256',
  machines,
})

export const booted = (...machines: readonly (readonly LoggedEvent[])[]): Known =>
  knownOf(...machines.map(measurementsOf))

/** Its quote has these PCRs besides, and nothing was measured into them. */
export function withUntouched(machine: Measurements, ...pcrs: readonly number[]): Measurements {
  const zeros = pcrs.map((pcr) => [pcr, Buffer.alloc(32)] as const)
  const values = new Map([...(machine.quoted.get('sha256') ?? []), ...zeros])
  const replayed = pcrs.map((pcr) => ({ bank: 'sha256' as const, pcr, events: [], laterEvents: 0 }))
  return {
    ...machine,
    quoted: new Map([['sha256', values]]),
    replayed: [...machine.replayed, ...replayed],
  }
}

/** Its quote, and no log that leads to its values. */
export function unexplained(events: readonly LoggedEvent[]): Measurements {
  return { ...measurementsOf(events), replayed: [] }
}

export function valueIn({ quoted }: Measurements, pcr: number): string | undefined {
  return quoted.get('sha256')?.get(pcr)?.toString('hex')
}

/** A rule of the values of a PCR, and why there is no other. */
export function valuesRule({ machines }: Known, pcr: number, because: string): SuggestedRule {
  return {
    rule: 'values',
    pcr,
    allowed: [...new Set(machines.map((machine) => valueIn(machine, pcr)))],
    why: `${because} So only its value can be compared, which is another one after an update.`,
  }
}
