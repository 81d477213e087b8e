import { jwsInput, jwsOf } from '../format/jws.ts'
import { Secret } from '../secret.ts'
import type { KeyRing } from './key-ring.ts'
import { KEY_KINDS, type KeyKind } from './key-schedule.ts'

/** A JWT by the key that now signs for something. @param typ of its header @throws what PrivateKey throws */
export async function signedJwt(
  keys: Pick<KeyRing, 'signing'>,
  kind: KeyKind,
  typ: string,
  claims: Readonly<Record<string, unknown>>,
): Promise<Secret<string>> {
  const { kid, key } = keys.signing(kind)
  const input = jwsInput({ alg: KEY_KINDS[kind], typ, kid }, claims)
  return new Secret(jwsOf(input, await key.sign(Buffer.from(input))))
}
