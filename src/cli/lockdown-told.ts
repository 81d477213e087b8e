import { askAdmin, type Sockets } from '../client.ts'
import { MetabindError } from '../errors.ts'
import type { Lockdown } from '../lockdown/rules.ts'
import { complain } from './output.ts'

// systemd may hold the socket of an agent that is not to start now, as while the machine goes down.
const ANSWER_MS = 2000

/** A change that has been made to the rules. */
export type LockdownChange =
  | ({ readonly change: 'on' } & Pick<Lockdown, 'mode' | 'containers' | 'forSeconds'>)
  | { readonly change: 'confirm' | 'off' }

/**
 * Tells the agent what has been done, for its audit trail: the firewall is not the agent's to change.
 * Without an agent the change stands all the same, and the command says that nobody recorded it.
 */
export async function tellAgent(sockets: Sockets, change: LockdownChange): Promise<void> {
  try {
    await askAdmin(sockets, 'POST', 'lockdown', change, ANSWER_MS)
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    complain(`done, but not recorded in the audit trail: ${error.message}`)
  }
}
