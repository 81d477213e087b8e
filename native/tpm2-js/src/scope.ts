import type { TpmObject, TpmSession } from './commands.ts'
import type { EsysContext, EsysTr } from './esys-context.ts'
import { ESYS_TR } from './esys-prototypes.ts'
import { TpmError } from './tpm-error.ts'

/** What one sequence may use: its commands, and the objects and sessions that it made itself. */
export interface Scope {
  readonly call: EsysContext['call']
  readonly nvBufferBytes: number
  addObject(tr: EsysTr, publicArea: Uint8Array): TpmObject
  addSession(tr: EsysTr, type: TpmSession['type']): TpmSession
  /** @throws TpmError TPM_OBJECT_GONE for anything flushed or of another sequence. */
  trOf(subject: TpmObject | TpmSession): EsysTr
  /** The session, or the empty password if there is none. */
  authorization(session: TpmSession | undefined): EsysTr
  flush(subject: TpmObject | TpmSession): Promise<void>
  flushTpmHandle: EsysContext['flushTpmHandle']
  release(reference: EsysTr): Promise<void>
  end(): void
}

export function makeScope(context: EsysContext, nvBufferBytes: number): Scope {
  const known = new Map<TpmObject | TpmSession, EsysTr>()
  let over = false

  const add = <T extends TpmObject | TpmSession>(subject: T, tr: EsysTr): T => {
    known.set(subject, tr)
    return subject
  }
  const trOf: Scope['trOf'] = (subject) => {
    const tr = known.get(subject)
    if (tr !== undefined) return tr
    throw new TpmError('TPM_OBJECT_GONE', 'the object or session is flushed or of another sequence')
  }
  return {
    nvBufferBytes,
    trOf,
    call: async (...command) => {
      if (over) throw new TpmError('TPM_OBJECT_GONE', 'the sequence of these commands is over')
      await context.call(...command)
    },
    addObject: (tr, publicArea) => add(Object.freeze({ name: context.nameOf(tr), publicArea }), tr),
    addSession: (tr, type) => add(Object.freeze({ type }), tr),
    authorization: (session) => (session === undefined ? ESYS_TR.PASSWORD : trOf(session)),
    flush: async (subject) => {
      const tr = trOf(subject)
      known.delete(subject)
      await context.flush(tr)
    },
    flushTpmHandle: (tpmHandle) => context.flushTpmHandle(tpmHandle),
    release: (reference) => context.flush(reference),
    end: () => {
      over = true
      known.clear()
    },
  }
}
