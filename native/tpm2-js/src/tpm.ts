import { integerArgument } from './argument.ts'
import { attestationCommands } from './attestation-commands.ts'
import type { TpmCommands } from './commands.ts'
import { type EsysContext, openContext } from './esys-context.ts'
import { keyCommands } from './key-commands.ts'
import { loadedCommands } from './loaded-commands.ts'
import { nvCommands } from './nv-commands.ts'
import { objectCommands } from './object-commands.ts'
import { pcrCommands } from './pcr-commands.ts'
import { propertyCommands, readNvBufferBytes } from './property-commands.ts'
import { makeQueue } from './queue.ts'
import { makeScope, type Scope } from './scope.ts'
import { sessionCommands } from './session-commands.ts'
import { checkReachable, parseTcti } from './tcti.ts'
import { TpmError } from './tpm-error.ts'

export type * from './commands.ts'
export { TpmError, type TpmErrorCode } from './tpm-error.ts'
export { type DecodedRc, decodeRc, type TpmLayer, type TpmSubject } from './tpm-rc.ts'

export interface OpenOptions {
  /** `device:/path`, `swtpm:path=…`, `swtpm:host=…,port=…`, `mssim:host=…,port=…`, `tabrmd[:…]`. */
  readonly tcti: string
  /** How long one command may take before the context is given up, in milliseconds; 30 000 when left out. */
  readonly commandTimeoutMs?: number
}

/** A connection to a TPM. */
export interface Tpm {
  /**
   * Runs `steps` with nobody else's command in between, in the order of asking. Everything that
   * they created or started is flushed at the end, in success and in failure. A sequence inside a
   * sequence would wait for itself.
   *
   * @throws what `steps` throws; TpmError TPM_CLOSED after close(); the error that broke the
   * context (TPM_TIMEOUT, TPM_TRANSPORT, TPM_RESPONSE, TPM_LIBRARY): open a new one then.
   */
  sequence<T>(steps: (commands: TpmCommands) => Promise<T>): Promise<T>
  /** Why nothing more can be asked by this connection; undefined while it can. */
  failure(): TpmError | undefined
  /** Waits for the running sequence; refuses the ones behind it. May be called again. */
  close(): Promise<void>
}

const COMMAND_TIMEOUT_MS_DEFAULT = 30_000
/** Largest delay of a JavaScript timer. */
const COMMAND_TIMEOUT_MS_MAX = 0x7fff_ffff

/**
 * Connects and asks the TPM one question.
 *
 * @throws TpmError TPM_TCTI_UNNAMED, TPM_TCTI_INVALID, TPM_LIBRARY_MISSING, TPM_ABSENT,
 * TPM_NOT_PERMITTED, TPM_BUSY, TPM_TRANSPORT, TPM_TIMEOUT, TPM_RC, TPM_ARGUMENT; TPM_STUCK while two
 * earlier connections wait for answers that are late
 */
export async function openTpm(options: OpenOptions): Promise<Tpm> {
  const tcti = parseTcti(options.tcti)
  const timeoutMs = options.commandTimeoutMs ?? COMMAND_TIMEOUT_MS_DEFAULT
  integerArgument('commandTimeoutMs', timeoutMs, 1, COMMAND_TIMEOUT_MS_MAX)
  await checkReachable(tcti)
  const context = await openContext(tcti, timeoutMs)
  try {
    return makeTpm(context, await readNvBufferBytes(context))
  } catch (error) {
    await context.release()
    throw error
  }
}

function makeTpm(context: EsysContext, nvBufferBytes: number): Tpm {
  const enqueue = makeQueue()
  let closing: Promise<void> | undefined

  return {
    sequence: (steps) => {
      const asked = () => {
        if (closing !== undefined) throw new TpmError('TPM_CLOSED', 'this TPM is closed')
        const failure = context.failure()
        if (failure !== undefined) throw failure
        return runSequence(context, makeScope(context, nvBufferBytes), steps)
      }
      return enqueue(async () => await asked())
    },
    failure: context.failure,
    close: () => {
      closing ??= enqueue(() => context.release())
      return closing
    },
  }
}

async function runSequence<T>(
  context: EsysContext,
  scope: Scope,
  steps: (commands: TpmCommands) => Promise<T>,
): Promise<T> {
  let result: T
  try {
    result = await steps(commandsOf(scope))
  } catch (error) {
    scope.end()
    // The first error is the one to report; a context that cannot flush is broken and says so next.
    await context.flushAll().catch(() => undefined)
    throw error
  }
  scope.end()
  await context.flushAll()
  return result
}

function commandsOf(scope: Scope): TpmCommands {
  return {
    ...propertyCommands(scope),
    ...objectCommands(scope),
    ...loadedCommands(scope),
    ...sessionCommands(scope),
    ...keyCommands(scope),
    ...attestationCommands(scope),
    ...nvCommands(scope),
    ...pcrCommands(scope),
  }
}
