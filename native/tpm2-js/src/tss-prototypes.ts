import { ESYS_PARAMETERS, type EsysFunction } from './esys-prototypes.ts'
import type { TssLibrary } from './tss-versions.ts'

/**
 * Everything that is called of tpm2-tss, as C prototypes: the ESAPI commands, the marshalling of structures,
 * and what opens, closes and describes. Contexts and structures are `void`.
 */

/** Structures that are converted, as the marshalling library names them. */
const STRUCT_TYPES = [
  'TPM2B_ATTEST',
  'TPM2B_DATA',
  'TPM2B_DIGEST',
  'TPM2B_ENCRYPTED_SECRET',
  'TPM2B_ID_OBJECT',
  'TPM2B_MAX_BUFFER',
  'TPM2B_MAX_NV_BUFFER',
  'TPM2B_NAME',
  'TPM2B_NV_PUBLIC',
  'TPM2B_PUBLIC',
  'TPM2B_SENSITIVE_CREATE',
  'TPML_DIGEST',
  'TPML_PCR_SELECTION',
  'TPMS_CAPABILITY_DATA',
  'TPMS_TIME_INFO',
  'TPMT_SIGNATURE',
  'TPMT_SIG_SCHEME',
  'TPMT_SYM_DEF',
  'TPMT_TK_HASHCHECK',
] as const

/** Name of a TPM structure as in the marshalling library, for example `TPMT_PUBLIC`. */
export type StructType = (typeof STRUCT_TYPES)[number]

const OTHERS = {
  Esys_Finalize: 'void Esys_Finalize(_Inout_ void **context)',
  Esys_Free: 'void Esys_Free(void *ptr)',
  Esys_Initialize:
    'uint32_t Esys_Initialize(_Out_ void **esys_context, void *tcti, void *abiVersion)',
  Esys_TR_Close: 'uint32_t Esys_TR_Close(void *esys_context, _Inout_ uint32_t *rsrc_handle)',
  Esys_TR_GetName:
    'uint32_t Esys_TR_GetName(void *esysContext, uint32_t handle, _Out_ void **name)',
  Esys_TR_GetTpmHandle:
    'uint32_t Esys_TR_GetTpmHandle(void *esys_context, uint32_t esys_handle, _Out_ uint32_t *tpm_handle)',
  Esys_TR_Serialize:
    'uint32_t Esys_TR_Serialize(void *esys_context, uint32_t object, _Out_ void **buffer, _Out_ size_t *buffer_size)',
  Tss2_RC_Decode: 'const char *Tss2_RC_Decode(uint32_t rc)',
  Tss2_Sys_FlushContext: 'uint32_t Tss2_Sys_FlushContext(void *sysContext, uint32_t flushHandle)',
  Tss2_Sys_GetContextSize: 'size_t Tss2_Sys_GetContextSize(size_t maxCommandSize)',
  Tss2_Sys_Initialize:
    'uint32_t Tss2_Sys_Initialize(void *sysContext, size_t contextSize, void *tctiContext, void *abiVersion)',
  Tss2_TctiLdr_Finalize: 'void Tss2_TctiLdr_Finalize(_Inout_ void **context)',
  Tss2_TctiLdr_Initialize:
    'uint32_t Tss2_TctiLdr_Initialize(const char *nameConf, _Out_ void **context)',
} as const

export type TssFunction =
  | keyof typeof OTHERS
  | EsysFunction
  | `Tss2_MU_${StructType}_${'Marshal' | 'Unmarshal'}`

/** The C prototype of each function, by its name. */
export function prototypes(): [name: string, prototype: string][] {
  const commands = Object.entries(ESYS_PARAMETERS).map(([name, parameters]): [string, string] => [
    name,
    `uint32_t ${name}(void *esysContext, ${parameters})`,
  ])
  return [...Object.entries(OTHERS), ...commands, ...STRUCT_TYPES.flatMap(marshalling)]
}

function marshalling(type: StructType): [string, string][] {
  const marshal = `Tss2_MU_${type}_Marshal`
  const unmarshal = `Tss2_MU_${type}_Unmarshal`
  return [
    [
      marshal,
      `uint32_t ${marshal}(const void *src, void *buffer, size_t buffer_size, _Inout_ size_t *offset)`,
    ],
    [
      unmarshal,
      `uint32_t ${unmarshal}(const void *buffer, size_t buffer_size, _Inout_ size_t *offset, void *dest)`,
    ],
  ]
}

const PREFIXES: Readonly<Record<TssLibrary, string>> = {
  esys: 'Esys_',
  sys: 'Tss2_Sys_',
  mu: 'Tss2_MU_',
  tctildr: 'Tss2_TctiLdr_',
  rc: 'Tss2_RC_',
}

/** Whether a library is the one that has the function: names say so. */
export function isOf(library: TssLibrary, name: string): boolean {
  return name.startsWith(PREFIXES[library])
}
