import type { PcrBank, PcrSelection, TpmCommands } from './commands.ts'
import { ESYS_TR } from './esys-prototypes.ts'
import { numberOutput, structureOutput } from './output.ts'
import { decodePcrSelection, encodePcrSelection, pcrSelectionStruct } from './pcr-selection.ts'
import type { Scope } from './scope.ts'
import { TpmError } from './tpm-error.ts'

/** How often a reading starts again because a PCR was extended between its parts. */
const READINGS_MAX = 5

const DIGEST_BYTES = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 } as const

interface PcrValue {
  readonly hash: PcrSelection['hash']
  readonly pcr: number
  readonly value: Uint8Array
}

type PcrCommands = Pick<TpmCommands, 'pcrRead'>

export function pcrCommands(scope: Scope): PcrCommands {
  const pcrRead: PcrCommands['pcrRead'] = async (selection) => {
    encodePcrSelection(selection)
    for (let reading = 0; reading < READINGS_MAX; reading++) {
      const result = await readOnce(scope, selection)
      if (result !== undefined) return result
    }
    throw new TpmError('TPM_BUSY', 'the PCRs changed during each of several readings')
  }
  return { pcrRead }
}

/** One reading in parts: TPM2_PCR_Read returns at most eight values. Undefined if they are torn. */
async function readOnce(scope: Scope, selection: readonly PcrSelection[]) {
  const banks = selection.map(({ hash }) => ({ hash, values: new Map<number, Uint8Array>() }))
  let updateCounter: number | undefined
  for (let wanted = selection; wanted.length > 0; wanted = missing(selection, banks)) {
    const part = await readPart(scope, wanted)
    updateCounter ??= part.updateCounter
    if (part.updateCounter !== updateCounter) return undefined
    if (part.values.length === 0) {
      throw new TpmError('TPM_RESPONSE', 'the TPM has no such PCR bank')
    }
    take(part.values, banks, wanted)
  }
  return updateCounter === undefined ? undefined : { updateCounter, banks }
}

/** A value that was not asked for, or is there already, would have a reading never end. */
function take(
  values: readonly PcrValue[],
  banks: readonly { hash: PcrSelection['hash']; values: Map<number, Uint8Array> }[],
  wanted: readonly PcrSelection[],
): void {
  for (const { hash, pcr, value } of values) {
    const bank = banks.find((candidate) => candidate.hash === hash)
    const isWanted = wanted.some((asked) => asked.hash === hash && asked.pcrs.includes(pcr))
    if (bank === undefined || !isWanted || bank.values.has(pcr)) {
      throw new TpmError('TPM_RESPONSE', `the TPM returned PCR ${pcr} of ${hash} unasked`)
    }
    if (value.length !== DIGEST_BYTES[hash]) {
      throw new TpmError('TPM_RESPONSE', `the TPM returned ${value.length} bytes for a ${hash} PCR`)
    }
    bank.values.set(pcr, value)
  }
}

function missing(selection: readonly PcrSelection[], banks: readonly PcrBank[]): PcrSelection[] {
  return selection.flatMap(({ hash, pcrs }) => {
    const values = banks.find((bank) => bank.hash === hash)?.values
    const left = pcrs.filter((pcr) => values?.has(pcr) !== true)
    return left.length === 0 ? [] : [{ hash, pcrs: left }]
  })
}

async function readPart(scope: Scope, wanted: readonly PcrSelection[]) {
  const counter = numberOutput()
  const selected = structureOutput('TPML_PCR_SELECTION')
  const digests = structureOutput('TPML_DIGEST')
  const inputs = [ESYS_TR.NONE, ESYS_TR.NONE, ESYS_TR.NONE, pcrSelectionStruct(wanted)]
  await scope.call('Esys_PCR_Read', inputs, [counter, selected, digests])
  const values = decodeDigests(digests.value())
  const pcrs = decodePcrSelection(selected.value()).flatMap(({ hash, pcrs }) =>
    pcrs.map((pcr) => ({ hash, pcr })),
  )
  if (pcrs.length !== values.length) {
    throw new TpmError('TPM_RESPONSE', 'the TPM returned another number of PCRs than it says')
  }
  return {
    updateCounter: counter.value(),
    values: pcrs.map((pcr, index) => ({ ...pcr, value: values[index] ?? new Uint8Array() })),
  }
}

/** TPML_DIGEST (Part 2, 10.9.5): u32 count and TPM2B digests; well-formed, as libtss2-mu wrote it. */
function decodeDigests(wire: Uint8Array): Uint8Array[] {
  const buffer = Buffer.from(wire)
  const digests: Uint8Array[] = []
  let offset = 4
  while (offset < buffer.length) {
    const size = buffer.readUInt16BE(offset)
    digests.push(wire.slice(offset + 2, offset + 2 + size))
    offset += 2 + size
  }
  return digests
}
