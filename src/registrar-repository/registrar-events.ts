import type { RegistrarEvent } from './repository.ts'

const BY_REGISTRAR = ['iid', 'subject'] as const
const BY_ADMINISTRATOR = [...BY_REGISTRAR, 'was', 'reason', 'by'] as const

/** What an event of the chain says besides what it is and when. docs/fleet-events.md has what each means. */
export const REGISTRAR_EVENTS = {
  'instance.enrolled': [...BY_REGISTRAR, 'anchor', 'source'],
  'instance.held': [...BY_REGISTRAR, 'anchor', 'source'],
  'instance.restored': [...BY_REGISTRAR, 'why', 'source'],
  'instance.suspended': [...BY_ADMINISTRATOR, 'why', 'sources', 'clocks'],
  'instance.approved': BY_ADMINISTRATOR,
  'instance.evicted': BY_ADMINISTRATOR,
  'instance.banned': BY_ADMINISTRATOR,
  'database.restored': ['by'],
  'keys.rotated': ['by'],
} as const satisfies Readonly<Record<string, readonly string[]>>
export type RegistrarEventName = keyof typeof REGISTRAR_EVENTS

type Members<Name extends RegistrarEventName> = Partial<
  Record<(typeof REGISTRAR_EVENTS)[Name][number], RegistrarEvent[string]>
>

/** An event with those members alone that its name has in the table. */
export function registrarEvent<Name extends RegistrarEventName>(
  event: Name,
  members: Members<Name>,
): RegistrarEvent {
  return { event, ...members }
}
