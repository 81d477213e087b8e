import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'vitest'
import { ownAgent } from './attack.ts'
import { placeOf } from './attacker-place.ts'
import { AGENT_UID, type Packaged } from './packaged.ts'

/** An agent of the test's own that keeps an audit file. */
export interface Audited extends Packaged {
  /** In a folder of the agent's. */
  readonly file: string
}

export type AuditRecord = Readonly<Record<string, unknown>>

export async function auditedAgent(context: TestContext): Promise<Audited> {
  const file = join(await placeOf(AGENT_UID), 'audit.log')
  const config = `[audit]\nfile = ${JSON.stringify(file)}\n`
  return { ...(await ownAgent(context, { config })), file }
}

/** The records of a file, one a line. */
export function recordsIn(file: string): AuditRecord[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

/** The user of a record, if one is known; outside of the caller for refusals that were not written. */
export function uidOf({ caller, uid }: AuditRecord): number | undefined {
  return (caller as { uid: number } | undefined)?.uid ?? (uid as number | undefined)
}

/** Those of one event and one user. */
export function ofUser(records: readonly AuditRecord[], event: string, uid: number): AuditRecord[] {
  return records.filter((record) => record.event === event && uidOf(record) === uid)
}

/** How many events records stand for. */
export function sumOf(records: readonly AuditRecord[], of: 'count' | 'suppressed'): number {
  return records.reduce((sum, record) => sum + Number(record[of] ?? 1), 0)
}
