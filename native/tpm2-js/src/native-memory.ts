import { loadDeep } from './foreign.ts'
import { tssLibraries } from './tss-libraries.ts'

// Of the same library that ESAPI's malloc is of: bound deep, it does not see an allocator that was preloaded.
const libc = loadDeep('libc.so.6')
const usableBytes = libc.func('size_t malloc_usable_size(void *ptr)')
const explicitBzero = libc.func('void explicit_bzero(void *s, size_t n)')

/** Clears what ESAPI has allocated, and gives it back: responses carry key material. */
export function freeCleared(pointer: bigint): void {
  explicitBzero(pointer, usableBytes(pointer))
  tssLibraries().Esys_Free(pointer)
}
