import { loadDeep, type NativeLibrary } from './foreign.ts'
import { TpmError } from './tpm-error.ts'
import { isOf, prototypes, type TssFunction } from './tss-prototypes.ts'
import { LATER, OLDEST, SONAMES, type TssLibrary } from './tss-versions.ts'

/** Room for any structure of the TSS (the largest used, TPM2B_ATTEST, has 2306 bytes) and its wire form. */
export const STRUCT_BYTES = 4096

export type NativeFunction = ReturnType<NativeLibrary['func']>
type LaterFunction = keyof typeof LATER

/** The functions of the libraries, by their C names. An old version lacks those of LATER. */
export type TssLibraries = Readonly<
  Record<Exclude<TssFunction, LaterFunction>, NativeFunction> &
    Partial<Record<LaterFunction, NativeFunction>>
>

let loaded: TssLibraries | undefined

/**
 * All functions are looked up at once, so that a version that cannot work is refused at the beginning.
 *
 * @throws TpmError TPM_LIBRARY_MISSING or TPM_LIBRARY_UNFIT, naming the library
 */
export function tssLibraries(): TssLibraries {
  loaded ??= loadLibraries()
  return loaded
}

function loadLibraries(): TssLibraries {
  // The libraries write to stderr on every refusal unless told otherwise, and read this only once.
  process.env.TSS2_LOG ??= 'all+NONE'
  const found = new Map<string, NativeFunction>()
  for (const kind of Object.keys(SONAMES) as TssLibrary[]) {
    const { soname, library } = load(kind)
    for (const [name, prototype] of prototypes()) {
      const native = isOf(kind, name) ? declare(library, soname, name, prototype) : undefined
      if (native !== undefined) found.set(name, native)
    }
  }
  // prototypes() has all that TssFunction names, and declare() has refused to go on without one.
  return Object.fromEntries(found) as unknown as TssLibraries
}

/** The first of a library's file names that can be loaded. */
function load(kind: TssLibrary): { soname: string; library: NativeLibrary } {
  let cause: unknown
  for (const soname of SONAMES[kind]) {
    try {
      return { soname, library: loadDeep(soname) }
    } catch (error) {
      cause ??= error
    }
  }
  const names = SONAMES[kind].join(' or ')
  throw new TpmError('TPM_LIBRARY_MISSING', `cannot load ${names} of tpm2-tss`, { cause })
}

function declare(library: NativeLibrary, soname: string, name: string, prototype: string) {
  try {
    return library.func(prototype)
  } catch (cause) {
    if (name in LATER) return undefined
    const message = `${soname} has no ${name}: tpm2-tss ${OLDEST} or later is needed`
    throw new TpmError('TPM_LIBRARY_UNFIT', message, { cause })
  }
}
