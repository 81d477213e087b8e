import { ckrName } from './ckr.ts'

/** Every way in which this library refuses. README.md says what each means. */
export type Pkcs11ErrorCode =
  | 'PKCS11_MODULE'
  | 'PKCS11_TOKEN'
  | 'PKCS11_PIN'
  | 'PKCS11_AWAY'
  | 'PKCS11_BUSY'
  | 'PKCS11_TIMEOUT'
  | 'PKCS11_KEY'
  | 'PKCS11_NO_KEY'
  | 'PKCS11_ANSWER'
  | 'PKCS11_CKR'

/** The only error class of this library. No message has a PIN or an id of a key's bytes in it. */
export class Pkcs11Error extends Error {
  override readonly name = 'Pkcs11Error'
  readonly code: Pkcs11ErrorCode
  /** What the module returned (`CKR_DEVICE_REMOVED`); undefined if nothing of it was involved. */
  readonly ckr: string | undefined

  constructor(
    code: Pkcs11ErrorCode,
    message: string,
    { ckr, cause }: { readonly ckr?: string | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.ckr = ckr
  }
}

/** @param what the function that was called */
export function errorOfCkr(what: string, rv: number): Pkcs11Error {
  const ckr = ckrName(rv)
  return new Pkcs11Error('PKCS11_CKR', `${what}: ${ckr}`, { ckr })
}

export function ckrOf(error: unknown): string | undefined {
  return error instanceof Pkcs11Error ? error.ckr : undefined
}
