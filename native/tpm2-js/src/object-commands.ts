import { bytesArgument, integerArgument, wordArgument } from './argument.ts'
import type { Hierarchy, TpmCommands, TpmPublic } from './commands.ts'
import { ESYS_TR } from './esys-prototypes.ts'
import { sized, toStruct, unsized } from './marshal.ts'
import { handleOutput, referenceOutput, structureOutput } from './output.ts'
import type { Scope } from './scope.ts'
import { LOAD_EXTERNAL_NULL } from './tss-versions.ts'

const NO_SESSIONS = [ESYS_TR.NONE, ESYS_TR.NONE, ESYS_TR.NONE] as const

export const HIERARCHIES: Readonly<Record<Hierarchy, number>> = {
  owner: ESYS_TR.OWNER,
  endorsement: ESYS_TR.ENDORSEMENT,
  null: ESYS_TR.NULL,
  platform: ESYS_TR.PLATFORM,
}

/** TPMU_HA of the largest hash, SHA-512: the bound of TPM2B_AUTH (Part 2, 10.4.5). */
const AUTH_BYTES_MAX = 64

/** Part 2, 7.5: persistent handles. */
const PERSISTENT_FIRST = 0x8100_0000
const PERSISTENT_LAST = 0x81ff_ffff

type ObjectCommands = Pick<
  TpmCommands,
  'createPrimary' | 'readPublic' | 'objectAt' | 'loadExternal' | 'flushContext'
>

export function objectCommands(scope: Scope): ObjectCommands {
  const createPrimary: ObjectCommands['createPrimary'] = async (
    hierarchy,
    template,
    options = {},
  ) => {
    const auth = options.auth ?? new Uint8Array()
    bytesArgument('auth', auth, 0, AUTH_BYTES_MAX)
    const primary = wordArgument('hierarchy', HIERARCHIES, hierarchy)
    const inputs = [
      primary,
      scope.authorization(options.session),
      ESYS_TR.NONE,
      ESYS_TR.NONE,
      sensitiveCreate(auth),
      publicStruct('template', template),
      toStruct('TPM2B_DATA', sized(new Uint8Array()), 'outsideInfo'),
      toStruct('TPML_PCR_SELECTION', new Uint8Array(4), 'creationPCR'),
    ]
    const handle = handleOutput()
    const outPublic = structureOutput('TPM2B_PUBLIC')
    await scope.call('Esys_CreatePrimary', inputs, [handle, outPublic, null, null, null])
    return scope.addObject(handle.value(), unsized(outPublic.value()))
  }

  const loadExternal: ObjectCommands['loadExternal'] = async (publicArea) => {
    const inPublic = publicStruct('publicArea', publicArea)
    const handle = handleOutput()
    const inputs = [...NO_SESSIONS, null, inPublic, LOAD_EXTERNAL_NULL]
    await scope.call('Esys_LoadExternal', inputs, [handle])
    return scope.addObject(handle.value(), Uint8Array.from(publicArea))
  }

  const readPublic: ObjectCommands['readPublic'] = async (persistentHandle) => {
    const reference = await referTo(scope, persistentHandle)
    try {
      return await readPublicOf(scope, reference)
    } finally {
      await scope.release(reference)
    }
  }

  const objectAt: ObjectCommands['objectAt'] = async (persistentHandle) => {
    const reference = await referTo(scope, persistentHandle)
    const { publicArea } = await readPublicOf(scope, reference)
    return scope.addObject(reference, publicArea)
  }

  return { createPrimary, loadExternal, readPublic, objectAt, flushContext: scope.flush }
}

async function referTo(scope: Scope, persistentHandle: number): Promise<number> {
  integerArgument('persistentHandle', persistentHandle, PERSISTENT_FIRST, PERSISTENT_LAST)
  const reference = referenceOutput()
  await scope.call('Esys_TR_FromTPMPublic', [persistentHandle, ...NO_SESSIONS], [reference])
  return reference.value()
}

async function readPublicOf(scope: Scope, reference: number): Promise<TpmPublic> {
  const outPublic = structureOutput('TPM2B_PUBLIC')
  const name = structureOutput('TPM2B_NAME')
  const qualifiedName = structureOutput('TPM2B_NAME')
  const outputs = [outPublic, name, qualifiedName]
  await scope.call('Esys_ReadPublic', [reference, ...NO_SESSIONS], outputs)
  return {
    publicArea: unsized(outPublic.value()),
    name: unsized(name.value()),
    qualifiedName: unsized(qualifiedName.value()),
  }
}

function publicStruct(argument: string, publicArea: Uint8Array) {
  bytesArgument(argument, publicArea, 1, 1024)
  return toStruct('TPM2B_PUBLIC', sized(publicArea), argument)
}

/** TPM2B_SENSITIVE_CREATE: userAuth, and no data, so that the TPM makes the secret itself. */
function sensitiveCreate(auth: Uint8Array) {
  const sensitive = Buffer.concat([sized(auth), sized(new Uint8Array())])
  return toStruct('TPM2B_SENSITIVE_CREATE', sized(sensitive), 'auth')
}
