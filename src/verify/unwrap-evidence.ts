import { unwrapDocument } from '../format/cmw.ts'
import { inCheck } from './verify-error.ts'

/**
 * The evidence document, if it came in a wrapper (RFC 9999) of JSON or CBOR; else what came, as it is. For all
 * functions that take evidence.
 *
 * @throws VerifyError VERIFY_SIZE, VERIFY_WRAPPER
 */
export function unwrapEvidence(bytes: Uint8Array): Uint8Array {
  return inCheck('wrapper', () => unwrapDocument(bytes))
}
