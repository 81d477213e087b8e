import { UsageError } from '../errors.ts'
import { BIND_BYTES_MAX, NONCE_BYTES_MAX, NONCE_BYTES_MIN } from '../format/evidence.ts'

const NONCE = new RegExp(`^(?:[0-9A-Fa-f]{2}){${NONCE_BYTES_MIN},${NONCE_BYTES_MAX}}$`)
const BIND = new RegExp(`^(?:[0-9A-Fa-f]{2}){1,${BIND_BYTES_MAX}}$`)

/** What a nonce, and what is bound, may be on the command line: hex, in small letters. */
interface Qualifier {
  readonly nonce: string
  readonly bind: string | undefined
}

/**
 * The values of --nonce and --bind.
 *
 * @param whose the nonce is, for whoever has left it out
 * @throws UsageError
 */
export function qualifierOf(
  { nonce, bind }: { readonly nonce?: string; readonly bind?: string },
  whose: string,
): Qualifier {
  const takes = `${NONCE_BYTES_MIN} to ${NONCE_BYTES_MAX} bytes in hex, ${whose}`
  if (nonce === undefined) throw new UsageError(`--nonce is missing: ${takes}`)
  if (!NONCE.test(nonce)) throw new UsageError(`--nonce takes ${takes}`)
  if (bind !== undefined && !BIND.test(bind)) {
    throw new UsageError(`--bind takes 1 to ${BIND_BYTES_MAX} bytes in hex`)
  }
  return { nonce: nonce.toLowerCase(), bind: bind?.toLowerCase() }
}
