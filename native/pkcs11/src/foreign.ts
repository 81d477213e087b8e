import koffi from 'koffi'

/**
 * C stack of a call on a worker thread, as the other workspaces set it: koffi takes settings only before the first
 * library is loaded, and a module loads the crypto library's providers on that stack.
 */
const WORKER_STACK_BYTES = 1 << 20

try {
  koffi.config({ async_stack_size: WORKER_STACK_BYTES })
} catch {
  // Another workspace was first, with the same setting.
}

export { koffi }
