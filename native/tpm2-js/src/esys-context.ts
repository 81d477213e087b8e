import { ESYS_TR, type EsysFunction } from './esys-prototypes.ts'
import { sessionKeyBytes, tpmHandleOf } from './esys-resource.ts'
import { fromStruct, type Struct, unsized } from './marshal.ts'
import { freeCleared } from './native-memory.ts'
import type { Output } from './output.ts'
import { makeQueue } from './queue.ts'
import { sysContext } from './sys-context.ts'
import type { Tcti } from './tcti.ts'
import { errorOfRc, isTimeout, TpmError } from './tpm-error.ts'
import { openTransport } from './transport.ts'
import { type NativeFunction, tssLibraries } from './tss-libraries.ts'
import { SALT_KEPT } from './tss-versions.ts'
import { callOnWorker, countAsStuck, refuseMoreStuckContexts, withDeadline } from './worker-call.ts'

/**
 * An ESYS_CONTEXT, and a new one after each sequence that had a salt (SALT_KEPT in tss-versions.ts). Rules:
 * - One native call at a time: a context is not thread-safe, and calls run on worker threads.
 * - What a call created is recorded when the call returns, even when nobody waits for it any more.
 * - After a timeout, a transport error or a response that failed its check the context is broken:
 *   ESAPI accepts nothing more. It is emptied and finalized as soon as no call runs on it.
 * - A context whose call or whose emptying is late counts as stuck, once, until it is finalized.
 */

/** ESAPI's own number for an object or session; never a TPM handle. */
export type EsysTr = number

/** A `handle` occupies a slot of the TPM and must be flushed; a `reference` only exists in ESAPI. */
interface Held {
  readonly kind: 'handle' | 'reference'
  readonly tpmHandle: number
}

export interface EsysContext {
  /** Why the context accepts no more calls, or undefined while it does. */
  failure(): TpmError | undefined
  /**
   * Runs one command. `null` among the inputs or outputs is a NULL pointer. Structures among the inputs
   * are cleared when it has returned.
   */
  call(
    name: EsysFunction,
    inputs: readonly (number | Struct | null)[],
    outputs?: readonly (Output | null)[],
  ): Promise<void>
  nameOf(handle: EsysTr): Uint8Array
  /**
   * Flushes an object or session, or lets go of a reference. Nothing happens when it is gone. What
   * the TPM refuses to flush stays with those that are left.
   */
  flush(handle: EsysTr): Promise<void>
  /** Flushes what is loaded at a handle of the TPM, whoever loaded it. */
  flushTpmHandle(tpmHandle: number): Promise<void>
  /** Flushes whatever is left, and forgets salts. @throws the first error, after having tried them all. */
  flushAll(): Promise<void>
  /** Ends the context. Does not wait for a call that timed out. */
  release(): Promise<void>
}

/** @throws TpmError TPM_TRANSPORT, TPM_TIMEOUT, TPM_STUCK, TPM_LIBRARY, TPM_LIBRARY_MISSING, TPM_LIBRARY_UNFIT */
export async function openContext(tcti: Tcti, timeoutMs: number): Promise<EsysContext> {
  const tss = tssLibraries()
  refuseMoreStuckContexts()
  const transport = await openTransport(tcti, timeoutMs)
  try {
    return makeContext(transport, initialize(transport), timeoutMs)
  } catch (error) {
    tss.Tss2_TctiLdr_Finalize([transport])
    throw error
  }
}

function initialize(transport: bigint): bigint {
  const tss = tssLibraries()
  const cell: [bigint] = [0n]
  const rc: number = tss.Esys_Initialize(cell, transport, null)
  if (rc !== 0) throw errorOfRc('Esys_Initialize', rc, tss.Tss2_RC_Decode(rc))
  return cell[0]
}

function makeContext(transport: bigint, first: bigint, timeoutMs: number): EsysContext {
  let esys = first
  const tss = tssLibraries()
  const enqueue = makeQueue()
  const held = new Map<EsysTr, Held>()
  let mayHoldSalt = false
  let failure: TpmError | undefined
  let running: Promise<unknown> = Promise.resolve()
  let ended: Promise<void> | undefined

  async function run(
    name: string,
    native: NativeFunction,
    parameters: unknown[],
    collect: () => void = () => undefined,
  ) {
    if (failure !== undefined) throw failure
    const returned = callOnWorker(native, ...parameters)
      .then((rc) => {
        if (rc === 0) collect()
        return rc
      })
      .finally(() => {
        for (const parameter of parameters) if (Buffer.isBuffer(parameter)) parameter.fill(0)
      })
    running = returned.catch(() => undefined)
    try {
      const rc = await withDeadline(name, returned, timeoutMs)
      if (rc !== 0) throw errorOfRc(name, rc, tss.Tss2_RC_Decode(rc))
    } catch (error) {
      throw breakUnlessRefused(name, error)
    }
  }

  /** A refusal by the TPM (TPM_RC) leaves ESAPI usable; anything else does not. */
  function breakUnlessRefused(name: string, cause: unknown): TpmError {
    const error =
      cause instanceof TpmError ? cause : new TpmError('TPM_LIBRARY', `${name} failed`, { cause })
    if (error.code === 'TPM_RC') return error
    failure ??= error
    const ending = end()
    if (isTimeout(error)) countAsStuck(ending)
    return error
  }

  function call(
    name: EsysFunction,
    inputs: readonly (number | Struct | null)[],
    outputs: readonly (Output | null)[] = [],
  ): Promise<void> {
    const cells = outputs.map((output) => output?.cell ?? null)
    const [tpmKey] = inputs
    const isUnsaltedStart = name === 'Esys_StartAuthSession' && tpmKey === ESYS_TR.NONE
    return enqueue(() => {
      mayHoldSalt ||= name === 'Esys_StartAuthSession' && !isUnsaltedStart
      return run(name, tss[name], [esys, ...inputs, ...cells], () => {
        // Handles first: a structure that cannot be converted must not hide what was created.
        for (const output of outputs) if (output !== null) hold(output)
        for (const output of outputs) output?.collect()
        if (isUnsaltedStart && mayHoldSalt) refuseForeignSalt(Number(outputs[0]?.cell[0]))
        // An answer that came too late is nobody's.
        if (failure !== undefined) for (const output of outputs) output?.wipe()
      })
    })
  }

  function refuseForeignSalt(session: EsysTr): void {
    if (sessionKeyBytes(esys, session) > 0) throw new TpmError('TPM_LIBRARY', SALT_KEPT)
  }

  function hold(output: Output): void {
    if (output.kind !== 'handle' && output.kind !== 'reference') return
    const tr = Number(output.cell[0])
    held.set(tr, { kind: output.kind, tpmHandle: tpmHandleOf(esys, tr) })
  }

  function nameOf(tr: EsysTr): Uint8Array {
    if (failure !== undefined) throw failure
    const cell: [bigint] = [0n]
    const rc: number = tss.Esys_TR_GetName(esys, tr, cell)
    if (rc !== 0) throw errorOfRc('Esys_TR_GetName', rc, tss.Tss2_RC_Decode(rc))
    try {
      return unsized(fromStruct('TPM2B_NAME', cell[0]))
    } finally {
      freeCleared(cell[0])
    }
  }

  function flush(tr: EsysTr): Promise<void> {
    return enqueue(async () => {
      if (failure !== undefined) throw failure
      const kind = held.get(tr)?.kind
      if (kind === 'reference') tss.Esys_TR_Close(esys, [tr])
      if (kind === 'handle') await flushInTpm(tr)
      held.delete(tr)
    })
  }

  async function flushInTpm(tr: EsysTr): Promise<void> {
    try {
      await run('Esys_FlushContext', tss.Esys_FlushContext, [esys, tr])
    } catch (error) {
      // Gone already, as a session is after its last use without continueSession.
      if (!(error instanceof TpmError) || error.rcName !== 'TPM_RC_HANDLE') throw error
      tss.Esys_TR_Close(esys, [tr])
    }
  }

  function flushTpmHandle(tpmHandle: number): Promise<void> {
    return enqueue(async () => {
      if (failure !== undefined) throw failure
      const parameters = [sysContext(transport), tpmHandle]
      await run('Tss2_Sys_FlushContext', tss.Tss2_Sys_FlushContext, parameters)
    })
  }

  async function flushAll(): Promise<void> {
    // A call that nobody awaited may still be about to create something.
    await enqueue(async () => undefined)
    const results = await Promise.allSettled([...held.keys()].map(flush))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    await enqueue(async () => forgetSalt())
  }

  function forgetSalt(): void {
    if (!mayHoldSalt || failure !== undefined) return
    const fresh = initialize(transport)
    tss.Esys_Finalize([esys])
    esys = fresh
    mayHoldSalt = false
  }

  /** Never rejects. Settles when no worker thread is needed any more. */
  function end(): Promise<void> {
    ended ??= running
      .then(async () => {
        tss.Esys_Finalize([esys])
        await flushLeftovers([...held.values()].filter(({ kind }) => kind === 'handle'))
        tss.Tss2_TctiLdr_Finalize([transport])
      })
      .catch(() => undefined)
    return ended
  }

  /** A TPM without resource manager keeps what a broken context leaves behind, and has three slots. */
  async function flushLeftovers(leftovers: readonly Held[]): Promise<void> {
    if (leftovers.length > 0) await flushInTime(sysContext(transport), leftovers)
  }

  /** The flushes have together the time of one command. Beyond it the context is stuck once more. */
  async function flushInTime(sys: Buffer, leftovers: readonly Held[]): Promise<void> {
    let isLate = false
    const flushEach = async () => {
      for (const { tpmHandle } of leftovers) {
        const rc = await callOnWorker(tss.Tss2_Sys_FlushContext, sys, tpmHandle)
        const isAnswer = rc <= 0xffff
        if (!isAnswer || isLate) return
      }
    }
    const flushing = flushEach()
    await withDeadline('Tss2_Sys_FlushContext', flushing, timeoutMs).catch(() => {
      isLate = true
      countAsStuck(end())
    })
    await flushing
  }

  async function release(): Promise<void> {
    failure ??= new TpmError('TPM_CLOSED', 'the TPM context is closed')
    const ending = end()
    if (failure.code === 'TPM_TIMEOUT') return
    await withDeadline('close', ending, timeoutMs).catch(() => undefined)
  }

  return { failure: () => failure, call, nameOf, flush, flushTpmHandle, flushAll, release }
}
