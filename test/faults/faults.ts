import { DESCRIPTOR_FAULTS } from './descriptors.ts'
import { DISK_FAULTS } from './disk.ts'
import type { Fault } from './fault.ts'
import { KILLED_AT_RANDOM } from './kill-random.ts'
import { KILLED_AT_STEPS } from './kill-steps.ts'
import { PROCESS_FAULTS } from './process.ts'
import { SOURCE_FAULTS } from './source.ts'
import { TPM_FAULTS } from './tpm.ts'
import { TPM_BOOT_FAULTS } from './tpm-boot.ts'

/** All rows of the table, in its order. */
export const FAULTS: readonly Fault[] = [
  ...KILLED_AT_STEPS,
  KILLED_AT_RANDOM,
  ...TPM_FAULTS,
  ...TPM_BOOT_FAULTS,
  ...SOURCE_FAULTS,
  ...DISK_FAULTS,
  ...DESCRIPTOR_FAULTS,
  ...PROCESS_FAULTS,
]
