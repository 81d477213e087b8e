import { integerArgument } from './argument.ts'
import type { NvPublic, TpmCommands } from './commands.ts'
import { ESYS_TR } from './esys-prototypes.ts'
import { unsized } from './marshal.ts'
import { referenceOutput, structureOutput } from './output.ts'
import type { Scope } from './scope.ts'
import { TpmError } from './tpm-error.ts'

/** Part 2, 7.5: NV Index handles. */
const NV_INDEX_FIRST = 0x0100_0000
const NV_INDEX_LAST = 0x01ff_ffff

type NvCommands = Pick<TpmCommands, 'nvReadPublic' | 'nvRead'>

export function nvCommands(scope: Scope): NvCommands {
  const nvReadPublic: NvCommands['nvReadPublic'] = (index) =>
    withIndex(scope, index, (reference) => readPublic(scope, reference))

  const nvRead: NvCommands['nvRead'] = (index) =>
    withIndex(scope, index, async (reference) => {
      const { dataBytes } = await readPublic(scope, reference)
      const data = Buffer.alloc(dataBytes)
      for (let offset = 0; offset < dataBytes; offset += scope.nvBufferBytes) {
        const size = Math.min(scope.nvBufferBytes, dataBytes - offset)
        data.set(await readChunk(scope, reference, size, offset), offset)
      }
      return Uint8Array.from(data)
    })

  return { nvReadPublic, nvRead }
}

async function withIndex<T>(scope: Scope, index: number, use: (reference: number) => Promise<T>) {
  integerArgument('index', index, NV_INDEX_FIRST, NV_INDEX_LAST)
  const none = ESYS_TR.NONE
  const reference = referenceOutput()
  await scope.call('Esys_TR_FromTPMPublic', [index, none, none, none], [reference])
  try {
    return await use(reference.value())
  } finally {
    await scope.release(reference.value())
  }
}

async function readPublic(scope: Scope, reference: number): Promise<NvPublic> {
  const nvPublic = structureOutput('TPM2B_NV_PUBLIC')
  const name = structureOutput('TPM2B_NAME')
  const inputs = [reference, ESYS_TR.NONE, ESYS_TR.NONE, ESYS_TR.NONE]
  await scope.call('Esys_NV_ReadPublic', inputs, [nvPublic, name])
  const wire = unsized(nvPublic.value())
  // dataSize is the last field of TPMS_NV_PUBLIC (Part 2, 13.5).
  const dataBytes = Buffer.from(wire).readUInt16BE(wire.length - 2)
  return { nvPublic: wire, name: unsized(name.value()), dataBytes }
}

async function readChunk(scope: Scope, reference: number, size: number, offset: number) {
  const data = structureOutput('TPM2B_MAX_NV_BUFFER')
  const sessions = [ESYS_TR.PASSWORD, ESYS_TR.NONE, ESYS_TR.NONE]
  await scope.call('Esys_NV_Read', [reference, reference, ...sessions, size, offset], [data])
  const chunk = unsized(data.value())
  if (chunk.length === size) return chunk
  throw new TpmError('TPM_RESPONSE', `the TPM returned ${chunk.length} bytes of NV, not ${size}`)
}
