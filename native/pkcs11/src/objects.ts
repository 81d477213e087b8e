import { attributesOf, CKA, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY } from './attributes.ts'
import type { Connection } from './connection.ts'
import { Pkcs11Error } from './pkcs11-error.ts'

/** Objects of the token that have an id: the private and the public key. More than two of a class are no pair of ours. */
const FOUND_MAX = 2
const HANDLES_MAX = 256

/** @throws Pkcs11Error PKCS11_NO_KEY if the token has no such private key, PKCS11_KEY if more than one */
export async function privateKeyOf(
  { cryptoki, handles }: Connection,
  session: bigint,
  id: Buffer,
): Promise<bigint> {
  const name = id.toString('hex')
  const known = handles.get(name)
  if (known !== undefined) return known
  const [handle, other] = await found(cryptoki, session, CKO_PRIVATE_KEY, id)
  if (handle === undefined) throw new Pkcs11Error('PKCS11_NO_KEY', 'the token has no such key')
  if (other !== undefined) throw new Pkcs11Error('PKCS11_KEY', 'the token has two such keys')
  if (handles.size >= HANDLES_MAX) handles.clear()
  handles.set(name, handle)
  return handle
}

/** The private key first: what is left of a half is then no key. @returns how many objects that were */
export async function destroyObjects(
  { cryptoki, handles }: Connection,
  session: bigint,
  id: Buffer,
): Promise<number> {
  handles.delete(id.toString('hex'))
  let count = 0
  for (const objectClass of [CKO_PRIVATE_KEY, CKO_PUBLIC_KEY]) {
    for (const handle of await found(cryptoki, session, objectClass, id)) {
      await cryptoki.call('C_DestroyObject', session, handle)
      count += 1
    }
  }
  return count
}

async function found(
  cryptoki: Connection['cryptoki'],
  session: bigint,
  objectClass: number,
  id: Buffer,
): Promise<readonly bigint[]> {
  const template = attributesOf([
    [CKA.CLASS, objectClass],
    [CKA.TOKEN, true],
    [CKA.ID, id],
  ])
  const handles = new BigUint64Array(FOUND_MAX)
  const count = new BigUint64Array(1)
  await cryptoki.call('C_FindObjectsInit', session, template, template.count)
  await cryptoki.call('C_FindObjects', session, handles, FOUND_MAX, count)
  await cryptoki.call('C_FindObjectsFinal', session)
  return [...handles.subarray(0, Math.min(FOUND_MAX, Number(count[0])))]
}
