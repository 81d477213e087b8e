import type { Attributes } from './attributes.ts'
import { koffi } from './foreign.ts'
import { errorOfCkr, Pkcs11Error } from './pkcs11-error.ts'

/**
 * The functions that are used, with their place in CK_FUNCTION_LIST (pkcs11f.h) and their parameters. CK_ULONG, handles
 * and flags are `unsigned long`, CK_BBOOL is a byte (PKCS #11 v2.40, 3.1).
 */
const FUNCTIONS = {
  C_Initialize: [0, ['void *']],
  C_Finalize: [1, ['void *']],
  C_GetSlotList: [4, ['uint8', 'void *', 'void *']],
  C_GetTokenInfo: [6, ['ulong', 'void *']],
  C_GetMechanismInfo: [8, ['ulong', 'ulong', 'void *']],
  C_OpenSession: [12, ['ulong', 'ulong', 'void *', 'void *', 'void *']],
  C_CloseSession: [13, ['ulong']],
  C_Login: [18, ['ulong', 'ulong', 'void *', 'ulong']],
  C_DestroyObject: [22, ['ulong', 'ulong']],
  C_GetAttributeValue: [24, ['ulong', 'ulong', 'void *', 'ulong']],
  C_FindObjectsInit: [26, ['ulong', 'void *', 'ulong']],
  C_FindObjects: [27, ['ulong', 'void *', 'ulong', 'void *']],
  C_FindObjectsFinal: [28, ['ulong']],
  C_SignInit: [42, ['ulong', 'void *', 'ulong']],
  C_Sign: [43, ['ulong', 'void *', 'ulong', 'void *', 'void *']],
  C_GenerateKeyPair: [
    59,
    ['ulong', 'void *', 'void *', 'ulong', 'void *', 'ulong', 'void *', 'void *'],
  ],
} as const satisfies Record<string, readonly [at: number, parameters: readonly string[]]>

type CryptokiFunction = keyof typeof FUNCTIONS
/** What a function takes: a number, a handle, which may be any of 64 bits, memory that the module reads or writes, or no memory. */
type Parameter = number | bigint | Uint8Array | BigUint64Array | Attributes | null

/** A module that was loaded. */
export interface Cryptoki {
  /** Calls a function on a worker thread. @throws Pkcs11Error PKCS11_CKR if it returns anything but CKR_OK */
  call(name: CryptokiFunction, ...parameters: readonly Parameter[]): Promise<void>
}

/** CK_FUNCTION_LIST begins with CK_VERSION, two bytes, which are padded to the size of a pointer. */
const POINTER_BYTES = 8
const VERSION_MAJORS = [2, 3]

/**
 * One that was loaded stays: modules start threads, and few have been tried with being unloaded. koffi would unload a library
 * that nobody has any more, and of the functions in the list it does not know whose they are.
 */
const modules = new Map<string, Cryptoki>()
const libraries = new Set<ReturnType<typeof koffi.load>>()

/** Arguments of running calls, and what they point to: native code holds the addresses, so they must not be collected. */
const inFlight = new Set<readonly unknown[]>()

/** @throws Pkcs11Error PKCS11_MODULE */
export function loadCryptoki(path: string): Cryptoki {
  const known = modules.get(path) ?? cryptokiAt(path)
  modules.set(path, known)
  return known
}

function cryptokiAt(path: string): Cryptoki {
  const list = functionList(path)
  const major: unknown = koffi.decode(list, 'uint8')
  if (!VERSION_MAJORS.some((one) => one === major)) {
    throw new Pkcs11Error('PKCS11_MODULE', `it is of PKCS #11 ${String(major)}, not of 2 or 3`)
  }
  const declared = new Map(
    Object.entries(FUNCTIONS).map(([name, [at, parameters]]) => {
      const pointer = koffi.decode(list, POINTER_BYTES * (1 + at), 'void *')
      return [name, koffi.decode(pointer, koffi.proto('ulong', [...parameters]))]
    }),
  )
  return {
    call: async (name, ...parameters) => {
      const rv = await onWorker(declared.get(name), parameters)
      if (rv !== 0) throw errorOfCkr(name, rv)
    },
  }
}

/** C_GetFunctionList (PKCS #11 v2.40, 5.4): the one symbol that every module of 2 and 3 has. */
function functionList(path: string): bigint {
  try {
    // Bound to the libraries that it was built with, and not to the OpenSSL that Node exports (dlopen(3), RTLD_DEEPBIND).
    const library = koffi.load(path, { deep: true })
    const list = new BigUint64Array(1)
    const rv: number = library.func('C_GetFunctionList', 'ulong', ['void *'])(list)
    if (rv !== 0) throw errorOfCkr('C_GetFunctionList', rv)
    const [pointer = 0n] = list
    if (pointer === 0n) throw new Error('C_GetFunctionList gave none')
    libraries.add(library)
    return pointer
  } catch (cause) {
    throw new Pkcs11Error('PKCS11_MODULE', 'it cannot be loaded', { cause })
  }
}

function onWorker(
  native: { async: (...all: unknown[]) => void },
  parameters: readonly Parameter[],
): Promise<number> {
  inFlight.add(parameters)
  return new Promise((resolve, reject) => {
    native.async(...parameters.map(memoryOf), (error: unknown, rv: number) => {
      inFlight.delete(parameters)
      if (error) reject(error)
      else resolve(rv)
    })
  })
}

function memoryOf(parameter: Parameter): unknown {
  const isAttributes = parameter !== null && typeof parameter === 'object' && 'memory' in parameter
  return isAttributes ? parameter.memory : parameter
}
