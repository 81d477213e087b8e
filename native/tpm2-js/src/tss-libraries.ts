import { ESYS_PARAMETERS, type EsysFunction } from './esys-prototypes.ts'
import { koffi } from './foreign.ts'
import { TpmError } from './tpm-error.ts'

/**
 * Opens the tpm2-tss libraries. Versioned names, because the plain `.so` links belong to
 * development packages and are absent on servers.
 */

/** Room for any structure of the TSS (the largest used, TPM2B_ATTEST, has 2306 bytes) and its wire form. */
export const STRUCT_BYTES = 4096

export type NativeFunction = ReturnType<ReturnType<typeof koffi.load>['func']>
type NativeLibrary = ReturnType<typeof koffi.load>

export interface TssLibraries {
  readonly command: (name: EsysFunction) => NativeFunction
  readonly marshal: (type: string) => NativeFunction
  readonly unmarshal: (type: string) => NativeFunction
  readonly tctiInitialize: NativeFunction
  readonly tctiFinalize: NativeFunction
  readonly esysInitialize: NativeFunction
  readonly esysFinalize: NativeFunction
  readonly esysFree: NativeFunction
  readonly esysGetSysContext: NativeFunction
  readonly esysGetTpmHandle: NativeFunction
  readonly esysGetName: NativeFunction
  readonly esysClose: NativeFunction
  readonly sysFlushContext: NativeFunction
  readonly rcDecode: NativeFunction
}

let loaded: TssLibraries | undefined

/** @throws TpmError TPM_LIBRARY_MISSING, naming the library. */
export function tssLibraries(): TssLibraries {
  loaded ??= loadLibraries()
  return loaded
}

function loadLibraries(): TssLibraries {
  // The libraries write to stderr on every refusal unless told otherwise, and read this only once.
  process.env.TSS2_LOG ??= 'all+NONE'
  const esys = load('libtss2-esys.so.0')
  const sys = load('libtss2-sys.so.1')
  const mu = load('libtss2-mu.so.0')
  const ldr = load('libtss2-tctildr.so.0')
  const rc = load('libtss2-rc.so.0')
  return {
    command: remember((name) => esys.func(`uint32_t ${name}(${esysParameters(name)})`)),
    ...marshalling(mu),
    tctiInitialize: ldr.func(
      'uint32_t Tss2_TctiLdr_Initialize(const char *nameConf, _Out_ void **context)',
    ),
    tctiFinalize: ldr.func('void Tss2_TctiLdr_Finalize(_Inout_ void **context)'),
    ...contextFunctions(esys),
    sysFlushContext: sys.func(
      'uint32_t Tss2_Sys_FlushContext(void *sysContext, uint32_t flushHandle)',
    ),
    rcDecode: rc.func('const char *Tss2_RC_Decode(uint32_t rc)'),
  }
}

function contextFunctions(esys: NativeLibrary) {
  return {
    esysInitialize: esys.func(
      'uint32_t Esys_Initialize(_Out_ void **esys_context, void *tcti, void *abiVersion)',
    ),
    esysFinalize: esys.func('void Esys_Finalize(_Inout_ void **context)'),
    esysFree: esys.func('void Esys_Free(void *ptr)'),
    esysGetSysContext: esys.func(
      'uint32_t Esys_GetSysContext(void *esys_context, _Out_ void **sys_context)',
    ),
    esysGetTpmHandle: esys.func(
      'uint32_t Esys_TR_GetTpmHandle(void *esys_context, uint32_t esys_handle, _Out_ uint32_t *tpm_handle)',
    ),
    esysGetName: esys.func(
      'uint32_t Esys_TR_GetName(void *esysContext, uint32_t handle, _Out_ void **name)',
    ),
    esysClose: esys.func(
      'uint32_t Esys_TR_Close(void *esys_context, _Inout_ uint32_t *rsrc_handle)',
    ),
  }
}

function marshalling(mu: NativeLibrary) {
  return {
    marshal: remember((type: string) =>
      mu.func(
        `uint32_t Tss2_MU_${type}_Marshal(const void *src, void *buffer, size_t buffer_size, _Inout_ size_t *offset)`,
      ),
    ),
    unmarshal: remember((type: string) =>
      mu.func(
        `uint32_t Tss2_MU_${type}_Unmarshal(const void *buffer, size_t buffer_size, _Inout_ size_t *offset, void *dest)`,
      ),
    ),
  }
}

function esysParameters(name: EsysFunction): string {
  return `void *esysContext, ${ESYS_PARAMETERS[name]}`
}

function load(soname: string): NativeLibrary {
  try {
    return koffi.load(soname)
  } catch (cause) {
    throw new TpmError('TPM_LIBRARY_MISSING', `cannot load ${soname} of tpm2-tss`, { cause })
  }
}

function remember<K extends string>(declare: (name: K) => NativeFunction) {
  const declared = new Map<K, NativeFunction>()
  return (name: K): NativeFunction => {
    const known = declared.get(name) ?? declare(name)
    declared.set(name, known)
    return known
  }
}
