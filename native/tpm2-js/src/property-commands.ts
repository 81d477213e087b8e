import { integerArgument } from './argument.ts'
import type { TpmCommands } from './commands.ts'
import type { EsysContext } from './esys-context.ts'
import { ESYS_TR } from './esys-prototypes.ts'
import { unsized } from './marshal.ts'
import { numberOutput, structureOutput } from './output.ts'
import type { Scope } from './scope.ts'
import { TpmError } from './tpm-error.ts'

const U32_MAX = 0xffff_ffff
const RANDOM_BYTES_MAX = 64

/** Part 2, 6.12 and 6.13. */
const TPM_CAP_TPM_PROPERTIES = 6
const TPM_PT_NV_BUFFER_MAX = 0x12c

/** TPM2B_MAX_NV_BUFFER of the TSS; a TPM may offer more. */
const NV_BUFFER_BYTES_MAX = 2048
/** What the PC Client profile guarantees, for a TPM that does not say. */
const NV_BUFFER_BYTES_MIN = 512

type Capability = TpmCommands['getCapability']
type PropertyCommands = Pick<TpmCommands, 'getCapability' | 'getRandom' | 'readClock'>

export function propertyCommands(scope: Scope): PropertyCommands {
  const getRandom: PropertyCommands['getRandom'] = async (bytes, session) => {
    integerArgument('bytes', bytes, 1, RANDOM_BYTES_MAX)
    const first = session === undefined ? ESYS_TR.NONE : scope.trOf(session)
    const random = structureOutput('TPM2B_DIGEST')
    await scope.call('Esys_GetRandom', [first, ESYS_TR.NONE, ESYS_TR.NONE, bytes], [random])
    const drawn = unsized(random.value())
    if (drawn.length === bytes) return drawn
    throw new TpmError(
      'TPM_RESPONSE',
      `the TPM returned ${drawn.length} random bytes, not ${bytes}`,
    )
  }

  const readClock: PropertyCommands['readClock'] = async () => {
    const time = structureOutput('TPMS_TIME_INFO')
    await scope.call('Esys_ReadClock', [ESYS_TR.NONE, ESYS_TR.NONE, ESYS_TR.NONE], [time])
    // Part 2, 10.11.6: time u64, then TPMS_CLOCK_INFO: clock u64, two u32 counters, safe u8.
    const wire = Buffer.from(time.value())
    return {
      timeMs: wire.readBigUInt64BE(0),
      clockMs: wire.readBigUInt64BE(8),
      resetCount: wire.readUInt32BE(16),
      restartCount: wire.readUInt32BE(20),
      safe: wire.readUInt8(24) === 1,
    }
  }

  return { getCapability: capabilityReader(scope.call), getRandom, readClock }
}

export function capabilityReader(call: EsysContext['call']): Capability {
  return async (capability, property, count) => {
    integerArgument('capability', capability, 0, U32_MAX)
    integerArgument('property', property, 0, U32_MAX)
    integerArgument('count', count, 1, U32_MAX)
    const more = numberOutput()
    const data = structureOutput('TPMS_CAPABILITY_DATA')
    const inputs = [ESYS_TR.NONE, ESYS_TR.NONE, ESYS_TR.NONE, capability, property, count]
    await call('Esys_GetCapability', inputs, [more, data])
    return { more: more.value() !== 0, data: data.value() }
  }
}

/** Largest TPM2_NV_Read. Also the first thing asked of a TPM: an answer says that one is there. */
export async function readNvBufferBytes(context: EsysContext): Promise<number> {
  const getCapability = capabilityReader(context.call)
  const { data } = await getCapability(TPM_CAP_TPM_PROPERTIES, TPM_PT_NV_BUFFER_MAX, 1)
  // TPMS_CAPABILITY_DATA: u32 capability, u32 count, then u32 property and u32 value of each.
  const wire = Buffer.from(data)
  if (wire.length < 16 || wire.readUInt32BE(8) !== TPM_PT_NV_BUFFER_MAX) return NV_BUFFER_BYTES_MIN
  return Math.min(Math.max(wire.readUInt32BE(12), 1), NV_BUFFER_BYTES_MAX)
}
