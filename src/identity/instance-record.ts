import { join } from 'node:path'
import { z } from 'zod'
import {
  type ClockProgress,
  type ClockReading,
  clockProgress,
  isProgress,
  type TpmCounters,
} from '../format/tpm-clock.ts'
import { parseJson } from '../json.ts'
import { readPrivateFile, writePrivateFile } from '../storage/private-file.ts'

/** What the state directory remembers of this instance. Nothing in it is secret, and nothing is trusted. */
export interface InstanceRecord extends TpmCounters {
  readonly ekName: string
  readonly akName: string
  readonly rkName: string
  readonly instanceId: string
}

/** What happened since the record was written, as far as a disk and a TPM can tell. */
export type InstanceChange =
  | { readonly kind: 'first-start' }
  /** Another TPM under the same disk: a clone, or a golden image with state in it. */
  | { readonly kind: 'tpm-changed'; readonly ekName: string }
  | { readonly kind: 'instance-changed'; readonly instanceId: string }
  /** The endorsement key is the same and another of its hierarchy is not: TPM2_Clear was done. */
  | { readonly kind: 'tpm-cleared' }
  /** The counters went back: cleared, rolled back, or a clone of the TPM's state ran elsewhere. */
  | { readonly kind: 'counters-back' }
  /** The hypervisor says that this machine was restored from a snapshot, or moved. */
  | { readonly kind: 'vm-generation' }
  | { readonly kind: ClockProgress }

const FILE_BYTES_MAX = 4096
const hexName = z.string().regex(/^[0-9a-f]{8,132}$/)
const counter = z.int().min(0).max(0xffff_ffff)
const schema = z.strictObject({
  version: z.literal(1),
  ekName: hexName,
  akName: hexName,
  rkName: hexName,
  instanceId: z.string().max(128),
  clockMs: z.int().min(0),
  resetCount: counter,
  restartCount: counter,
})

/** Whether the change is one that an administrator should hear of. */
export function isRemarkable({ kind }: InstanceChange): boolean {
  return !['first-start', 'same-run', 'resumed', 'rebooted'].includes(kind)
}

/** Compares a record with what is found now. Pure. */
export function changeSince(
  last: InstanceRecord | undefined,
  now: InstanceRecord & ClockReading,
): InstanceChange {
  if (last === undefined) return { kind: 'first-start' }
  if (last.ekName !== now.ekName) return { kind: 'tpm-changed', ekName: last.ekName }
  if (last.instanceId !== now.instanceId) {
    return { kind: 'instance-changed', instanceId: last.instanceId }
  }
  if (last.akName !== now.akName || last.rkName !== now.rkName) return { kind: 'tpm-cleared' }
  // Looked at twice within one millisecond of the TPM's clock.
  if (isSameMoment(last, now)) return { kind: 'same-run' }
  const progress = clockProgress(last, now)
  return { kind: isProgress(progress) ? progress : 'counters-back' }
}

function isSameMoment(last: TpmCounters, now: TpmCounters): boolean {
  return (
    now.clockMs === last.clockMs &&
    now.resetCount === last.resetCount &&
    now.restartCount === last.restartCount
  )
}

/**
 * Reads the record. One that cannot be understood counts as none: it decides nothing.
 *
 * @throws MetabindError DIRECTORY_UNSAFE, DIRECTORY_FAULT
 */
export function readInstanceRecord(stateDirectory: string): InstanceRecord | undefined {
  const bytes = readPrivateFile(pathIn(stateDirectory), FILE_BYTES_MAX)
  if (bytes === undefined) return undefined
  const parsed = schema.safeParse(parseJson(bytes))
  if (!parsed.success) return undefined
  const { version: _version, ...record } = parsed.data
  return record
}

/** @throws MetabindError DIRECTORY_FAULT */
export function writeInstanceRecord(stateDirectory: string, record: InstanceRecord): void {
  const file = { version: 1, ...record }
  writePrivateFile(pathIn(stateDirectory), Buffer.from(`${JSON.stringify(file)}\n`))
}

function pathIn(stateDirectory: string): string {
  return join(stateDirectory, 'instance.json')
}
