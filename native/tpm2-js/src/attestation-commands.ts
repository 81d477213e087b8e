import { bytesArgument } from './argument.ts'
import type { Attestation, TpmCommands } from './commands.ts'
import { ESYS_TR, type EsysFunction } from './esys-prototypes.ts'
import { SCHEME_OF_KEY } from './key-commands.ts'
import { type Struct, sized, toStruct, unsized } from './marshal.ts'
import { structureOutput } from './output.ts'
import { pcrSelectionStruct } from './pcr-selection.ts'
import type { Scope } from './scope.ts'

/** TPM2B_DATA with SHA-512 (Part 2, 10.4.3). A TPM with smaller hashes only takes less. */
const QUALIFYING_DATA_BYTES_MAX = 66

type AttestationCommands = Pick<TpmCommands, 'quote' | 'certify' | 'getTime'>

export function attestationCommands(scope: Scope): AttestationCommands {
  const attested = async (
    name: EsysFunction,
    inputs: readonly (number | Struct)[],
  ): Promise<Attestation> => {
    const attest = structureOutput('TPM2B_ATTEST')
    const signature = structureOutput('TPMT_SIGNATURE')
    await scope.call(name, inputs, [attest, signature])
    return { attest: unsized(attest.value()), signature: signature.value() }
  }

  const quote: AttestationCommands['quote'] = async (key, qualifyingData, selection) => {
    const handles = [scope.trOf(key), ESYS_TR.PASSWORD, ESYS_TR.NONE, ESYS_TR.NONE]
    const pcrs = pcrSelectionStruct(selection)
    return await attested('Esys_Quote', [...handles, ...dataAndScheme(qualifyingData), pcrs])
  }

  const certify: AttestationCommands['certify'] = async (object, signingKey, qualifyingData) => {
    const keys = [scope.trOf(object), scope.trOf(signingKey)]
    const inputs = [...keys, ...TWO_PASSWORDS, ...dataAndScheme(qualifyingData)]
    return await attested('Esys_Certify', inputs)
  }

  const getTime: AttestationCommands['getTime'] = async (signingKey, qualifyingData) => {
    const keys = [ESYS_TR.ENDORSEMENT, scope.trOf(signingKey)]
    const inputs = [...keys, ...TWO_PASSWORDS, ...dataAndScheme(qualifyingData)]
    return await attested('Esys_GetTime', inputs)
  }

  return { quote, certify, getTime }
}

const TWO_PASSWORDS = [ESYS_TR.PASSWORD, ESYS_TR.PASSWORD, ESYS_TR.NONE] as const

function dataAndScheme(qualifyingData: Uint8Array): readonly Struct[] {
  bytesArgument('qualifyingData', qualifyingData, 0, QUALIFYING_DATA_BYTES_MAX)
  return [
    toStruct('TPM2B_DATA', sized(qualifyingData), 'qualifyingData'),
    toStruct('TPMT_SIG_SCHEME', SCHEME_OF_KEY, 'inScheme'),
  ]
}
