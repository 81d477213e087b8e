import koffi from 'koffi'

/**
 * C stack of a call on a worker thread. koffi's 128 KiB would do for ESAPI itself, but the first
 * call loads a TCTI and the first session loads the crypto library's providers on that stack.
 */
const WORKER_STACK_BYTES = 1 << 20

// koffi takes settings only before the first library is loaded, so every file here gets it from here.
try {
  koffi.config({ async_stack_size: WORKER_STACK_BYTES })
} catch {
  // Another package was first with koffi: its setting stays. Our tests also pass with the default.
}

/**
 * Loads a library that finds its symbols in its own dependencies first (RTLD_DEEPBIND, dlopen(3)). Node
 * exports its own OpenSSL, and the dynamic linker would otherwise give that to a library that was built for
 * the system's: a mix of two versions' functions and structures.
 */
export function loadDeep(soname: string): NativeLibrary {
  return koffi.load(soname, { deep: true })
}

// Its own type, as the declarations of the package cannot spell it.
export const decode: typeof koffi.decode = koffi.decode
export type NativeLibrary = ReturnType<typeof koffi.load>
