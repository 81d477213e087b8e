import { errorOfRc } from './tpm-error.ts'
import { tssLibraries } from './tss-libraries.ts'

/**
 * A context of the layer below ESAPI, which flushes by the TPM's own handles. It is memory and nothing else, so
 * it is made when it is needed, beside an ESYS_CONTEXT that waits for no answer or is no more.
 *
 * @param transport a TCTI context
 */
export function sysContext(transport: bigint): Buffer {
  const tss = tssLibraries()
  const context = Buffer.alloc(Number(tss.Tss2_Sys_GetContextSize(0)))
  const rc: number = tss.Tss2_Sys_Initialize(context, context.length, transport, null)
  if (rc !== 0) throw errorOfRc('Tss2_Sys_Initialize', rc, tss.Tss2_RC_Decode(rc))
  return context
}
