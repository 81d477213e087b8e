import { koffi } from './foreign.ts'
import { tssLibraries } from './tss-libraries.ts'

// The names as the process sees them: if another allocator is preloaded, its own.
const own = koffi.load(null)
const usableBytes = own.func('size_t malloc_usable_size(void *ptr)')
const explicitBzero = own.func('void explicit_bzero(void *s, size_t n)')

/** Clears what ESAPI has allocated, and gives it back: responses carry key material. */
export function freeCleared(pointer: bigint): void {
  explicitBzero(pointer, usableBytes(pointer))
  tssLibraries().esysFree(pointer)
}
