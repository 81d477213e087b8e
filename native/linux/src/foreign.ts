import koffi from 'koffi'

/**
 * C stack of a call on a worker thread, as tpm2-js sets it for the libraries of the TPM. Nothing here is
 * called on one, but koffi takes settings only before the first library is loaded, whoever loads it: a
 * process that loads this workspace first would leave tpm2-js with koffi's 128 KiB.
 */
const WORKER_STACK_BYTES = 1 << 20

// Every file here gets koffi from here, and so after its settings.
try {
  koffi.config({ async_stack_size: WORKER_STACK_BYTES })
} catch {
  // tpm2-js was first, with the same setting.
}

export { koffi }
