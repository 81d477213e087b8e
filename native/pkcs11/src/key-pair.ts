import { randomBytes } from 'node:crypto'
import {
  attributesOf,
  CKA,
  CKO_PRIVATE_KEY,
  CKO_PUBLIC_KEY,
  roomFor,
  type Template,
  valueAt,
} from './attributes.ts'
import type { Connection } from './connection.ts'
import { KEY_TYPES, type KeyType, type PublicPart } from './key-type.ts'
import { destroyObjects } from './objects.ts'
import { Pkcs11Error } from './pkcs11-error.ts'

/** A pair that was made in the token. */
export interface KeyPair {
  /** CKA_ID of both keys. */
  readonly id: Buffer
  readonly publicPart: PublicPart
}

const ID_BYTES = 20
const CK_FALSE = 0
const CK_TRUE = 1

/**
 * Makes a pair that stays in the token (C_GenerateKeyPair), and looks whether the token made what it was asked for: one that
 * did not is destroyed.
 *
 * @param label for whoever looks into the token
 * @throws Pkcs11Error PKCS11_KEY, PKCS11_ANSWER, PKCS11_CKR
 */
export async function makeKeyPair(
  connection: Connection,
  session: bigint,
  type: KeyType,
  label: string,
): Promise<KeyPair> {
  const id = randomBytes(ID_BYTES)
  const { generate, publicTemplate, privateTemplate } = KEY_TYPES[type]
  const publicKey = attributesOf([...common(CKO_PUBLIC_KEY, id, label), ...publicTemplate])
  const privateKey = attributesOf([
    ...common(CKO_PRIVATE_KEY, id, label),
    [CKA.PRIVATE, true],
    [CKA.SENSITIVE, true],
    [CKA.EXTRACTABLE, false],
    [CKA.SIGN, true],
    ...privateTemplate,
  ])
  const [publicHandle, privateHandle] = [new BigUint64Array(1), new BigUint64Array(1)]
  await connection.cryptoki.call(
    'C_GenerateKeyPair',
    session,
    mechanism(generate),
    ...[publicKey, publicKey.count, privateKey, privateKey.count],
    ...[publicHandle, privateHandle],
  )
  try {
    await requireConfined(connection, session, privateHandle[0] ?? 0n)
    const publicPart = await readPublic(connection, session, publicHandle[0] ?? 0n, type)
    return { id, publicPart }
  } catch (error) {
    await destroyObjects(connection, session, id).catch(() => undefined)
    throw error
  }
}

/** struct CK_MECHANISM without a parameter. */
export function mechanism(type: number): BigUint64Array {
  return BigUint64Array.of(BigInt(type), 0n, 0n)
}

function common(objectClass: number, id: Buffer, label: string): Template {
  return [
    [CKA.CLASS, objectClass],
    [CKA.TOKEN, true],
    [CKA.ID, id],
    [CKA.LABEL, Buffer.from(label)],
  ]
}

/** @throws Pkcs11Error PKCS11_KEY if the private key could leave the token, or the token does not say that it cannot */
async function requireConfined(
  { cryptoki }: Connection,
  session: bigint,
  handle: bigint,
): Promise<void> {
  const wanted = [CKA.TOKEN, CKA.SENSITIVE, CKA.EXTRACTABLE]
  const room = roomFor(wanted.map((type) => [type, 1]))
  await cryptoki.call('C_GetAttributeValue', session, handle, room, room.count)
  const [isKept, isSensitive, isExtractable] = wanted.map((_, at) => valueAt(room, at)?.[0])
  if (isKept === CK_TRUE && isSensitive === CK_TRUE && isExtractable === CK_FALSE) return
  throw new Pkcs11Error('PKCS11_KEY', 'the token made a key that could leave it')
}

async function readPublic(
  { cryptoki }: Connection,
  session: bigint,
  handle: bigint,
  type: KeyType,
): Promise<PublicPart> {
  const { publicRoom, publicPart } = KEY_TYPES[type]
  const room = roomFor(publicRoom)
  await cryptoki.call('C_GetAttributeValue', session, handle, room, room.count)
  const part = publicPart(publicRoom.map((_, at) => valueAt(room, at)))
  if (part === undefined) throw new Pkcs11Error('PKCS11_ANSWER', `no public key of ${type}`)
  return part
}
