import { readFileSync } from 'node:fs'
import type { TpmClock } from 'tpm2-js'
import { MetabindError } from '../errors.ts'
import type { InstanceIdentity } from '../format/instance-identity.ts'
import {
  changeSince,
  type InstanceChange,
  type InstanceRecord,
  readInstanceRecord,
  writeInstanceRecord,
} from './instance-record.ts'
import type { InstanceTpm } from './tpm.ts'
import { vmGenerationOf } from './vmclock.ts'

/** Whether this is still the instance that it was: in the state directory's memory, and while running. */
export interface Continuity {
  /** What happened since the last look, over restarts and reboots; the look is then remembered. */
  look(): Promise<InstanceChange>
}

const VMCLOCK_DEVICE = '/dev/vmclock0'

/**
 * A disk that is full or broken stops nobody: what is remarkable is then found again at each look.
 *
 * @param stateDirectory where the record is kept
 * @param onUnwritten told once of each time that it cannot be written
 * @param vmclock the kernel's device, if the hypervisor offers one
 */
export function continuityOf(
  tpm: InstanceTpm,
  identity: InstanceIdentity,
  stateDirectory: string,
  onUnwritten: (problem: MetabindError) => void,
  vmclock: string = VMCLOCK_DEVICE,
): Continuity {
  let last: InstanceRecord | undefined
  let generation = readVmGeneration(vmclock)
  let failing = false
  const isWritten = (now: InstanceRecord): boolean => {
    try {
      writeInstanceRecord(stateDirectory, now)
      failing = false
      return true
    } catch (error) {
      if (!(error instanceof MetabindError)) throw error
      if (!failing) onUnwritten(error)
      failing = true
      return false
    }
  }
  return {
    look: async () => {
      const clock = await tpm.run((commands) => commands.readClock())
      const now = recordOf(identity, clock)
      const change = changeSince(last ?? readInstanceRecord(stateDirectory), {
        ...now,
        safe: clock.safe,
      })
      const generationNow = readVmGeneration(vmclock)
      const isRestored = generationNow !== generation
      // What cannot be written is not remembered either: the next look has to find it again.
      if (isWritten(now)) {
        last = now
        generation = generationNow
      }
      return isRestored ? { kind: 'vm-generation' } : change
    },
  }
}

function recordOf(identity: InstanceIdentity, clock: TpmClock): InstanceRecord {
  return {
    ekName: identity.ekName.toString('hex'),
    akName: identity.akName.toString('hex'),
    rkName: identity.rkName.toString('hex'),
    instanceId: identity.instanceId,
    clockMs: Number(clock.clockMs),
    resetCount: clock.resetCount,
    restartCount: clock.restartCount,
  }
}

function readVmGeneration(device: string): string | undefined {
  try {
    return vmGenerationOf(readFileSync(device))
  } catch {
    return undefined
  }
}
