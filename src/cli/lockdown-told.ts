import { ADMIN_CALLS, type LockdownChange } from '../admin-api.ts'
import { callAdmin } from '../admin-client.ts'
import type { Sockets } from '../agent-socket.ts'
import { MetabindError } from '../errors.ts'
import { complain } from './output.ts'

// systemd may hold the socket of an agent that is not to start now, as while the machine goes down.
const ANSWER_MS = 2000

/**
 * Tells the agent what has been done, for its audit trail: the firewall is not the agent's to change.
 * Without an agent the change stands all the same, and the command says that nobody recorded it.
 */
export async function tellAgent(sockets: Sockets, change: LockdownChange): Promise<void> {
  try {
    await callAdmin(sockets, ADMIN_CALLS.lockdown, change, ANSWER_MS)
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    complain(`done, but not recorded in the audit trail: ${error.message}`)
  }
}
