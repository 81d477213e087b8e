import type { Tcti } from './tcti.ts'
import { errorOfRc, isTimeout } from './tpm-error.ts'
import { tssLibraries } from './tss-libraries.ts'
import { callOnWorker, countAsStuck, withDeadline } from './worker-call.ts'

/** Connects. @returns a TCTI context. @throws TpmError TPM_TRANSPORT or TPM_TIMEOUT */
export async function openTransport(tcti: Tcti, timeoutMs: number): Promise<bigint> {
  const tss = tssLibraries()
  const name = 'Tss2_TctiLdr_Initialize'
  const cell: [bigint] = [0n]
  const returned = callOnWorker(tss[name], tcti.conf, cell)
  try {
    const rc = await withDeadline(name, returned, timeoutMs)
    if (rc !== 0) throw errorOfRc(`${name} ${tcti.conf}`, rc, tss.Tss2_RC_Decode(rc))
  } catch (error) {
    const finalized = returned
      .then((rc) => rc === 0 && tss.Tss2_TctiLdr_Finalize(cell))
      .catch(() => undefined)
    if (isTimeout(error)) countAsStuck(finalized)
    throw error
  }
  return cell[0]
}
