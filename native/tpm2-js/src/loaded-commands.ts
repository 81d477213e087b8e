import { integerArgument } from './argument.ts'
import type { TpmCommands } from './commands.ts'
import { capabilityReader } from './property-commands.ts'
import type { Scope } from './scope.ts'

/** Part 2, 6.12 and 7.2. */
const TPM_CAP_HANDLES = 1
const TRANSIENT_FIRST = 0x8000_0000
const LOADED_SESSION_FIRST = 0x0200_0000
/** A bare TPM has three slots of each kind; as many as one answer can hold. */
const HANDLES_MAX = 254

type LoadedCommands = Pick<TpmCommands, 'loadedHandles' | 'flushHandle'>

export function loadedCommands(scope: Scope): LoadedCommands {
  const getCapability = capabilityReader(scope.call)
  const handlesFrom = async (first: number): Promise<number[]> => {
    const { data } = await getCapability(TPM_CAP_HANDLES, first, HANDLES_MAX)
    // TPMS_CAPABILITY_DATA: u32 capability, then TPML_HANDLE: u32 count, and each u32.
    const wire = Buffer.from(data).subarray(8)
    return Array.from({ length: wire.length / 4 }, (_, at) => wire.readUInt32BE(4 * at))
  }
  return {
    loadedHandles: async () => [
      ...(await handlesFrom(TRANSIENT_FIRST)),
      ...(await handlesFrom(LOADED_SESSION_FIRST)),
    ],
    flushHandle: async (handle) => {
      integerArgument('handle', handle, LOADED_SESSION_FIRST, 0x80ff_ffff)
      await scope.flushTpmHandle(handle)
    },
  }
}
