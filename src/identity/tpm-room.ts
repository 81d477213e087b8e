import { type Tpm, TpmError } from 'tpm2-js'

// The kernel's device without its resource manager, and simulators.
const UNMANAGED = /^(?:device:\/dev\/tpm[0-9]+$|swtpm:|mssim:)/
const LACKS: ReadonlySet<string | undefined> = new Set([
  'TPM_RC_OBJECT_MEMORY',
  'TPM_RC_SESSION_MEMORY',
  'TPM_RC_MEMORY',
  'TPM_RC_SESSION_HANDLES',
  'TPM_RC_OBJECT_HANDLES',
])

/** Whether the TPM has refused a command because it has no room for another object or session. */
export function isLackOfRoom(error: unknown): boolean {
  return error instanceof TpmError && LACKS.has(error.rcName)
}

/**
 * Makes room in a TPM without resource manager, for the next try. Such a TPM keeps what a killed
 * process had loaded until somebody flushes it, and nothing says whose a handle is. On /dev/tpm0 all
 * of it is left over: the kernel lets one process open it, and its resource manager keeps nothing
 * loaded between the commands of others. A simulator takes the commands of several programs in turn;
 * what one is working with is gone a moment later. So what is flushed is what was loaded at the lack
 * before this one, too.
 *
 * @returns undefined behind a resource manager, where a new context has empty slots
 */
export function roomMaker(tcti: string): ((tpm: Tpm) => Promise<void>) | undefined {
  if (!UNMANAGED.test(tcti)) return undefined
  let loadedBefore: readonly number[] = []
  return (tpm) =>
    tpm.sequence(async (commands) => {
      const loaded = await commands.loadedHandles()
      const left = loaded.filter((handle) => loadedBefore.includes(handle))
      for (const handle of left) await commands.flushHandle(handle)
      loadedBefore = loaded.filter((handle) => !left.includes(handle))
    })
}
