import { koffi } from './foreign.ts'

/** Attributes of objects (PKCS #11 v2.40, 4), as the array of CK_ATTRIBUTE that Cryptoki takes. */

export const CKA = {
  CLASS: 0x000,
  TOKEN: 0x001,
  PRIVATE: 0x002,
  LABEL: 0x003,
  KEY_TYPE: 0x100,
  ID: 0x102,
  SENSITIVE: 0x103,
  DECRYPT: 0x105,
  UNWRAP: 0x107,
  SIGN: 0x108,
  DERIVE: 0x10c,
  MODULUS: 0x120,
  MODULUS_BITS: 0x121,
  PUBLIC_EXPONENT: 0x122,
  EXTRACTABLE: 0x162,
  EC_PARAMS: 0x180,
  EC_POINT: 0x181,
} as const
export const CKO_PUBLIC_KEY = 2
export const CKO_PRIVATE_KEY = 3

/** A CK_BBOOL, a CK_ULONG, or bytes. */
type AttributeValue = boolean | number | Uint8Array
export type Template = readonly (readonly [type: number, value: AttributeValue])[]

/** Memory that Cryptoki is given, with what it points to: kept as long as this is. */
export interface Attributes {
  readonly memory: BigUint64Array
  readonly count: number
  readonly values: readonly Buffer[]
}

/** struct CK_ATTRIBUTE: type, pointer to the value, length of the value; each of eight bytes. */
const WORDS = 3
const LENGTH_AT = 2

/** CK_UNAVAILABLE_INFORMATION: what stands for the length of a value that the token does not tell. */
const UNAVAILABLE = 0xffff_ffff_ffff_ffffn

export function attributesOf(template: Template): Attributes {
  return pointedTo(
    template.map(([type]) => type),
    template.map(([, value]) => bytesOf(value)),
  )
}

/** Room for values, to be filled by C_GetAttributeValue. @param wanted types, with the most bytes that each may have */
export function roomFor(
  wanted: readonly (readonly [type: number, bytesMax: number])[],
): Attributes {
  return pointedTo(
    wanted.map(([type]) => type),
    wanted.map(([, bytesMax]) => Buffer.alloc(bytesMax)),
  )
}

/** What C_GetAttributeValue has written. @returns undefined of what it does not tell */
export function valueAt({ memory, values }: Attributes, at: number): Buffer | undefined {
  const length = memory[at * WORDS + LENGTH_AT] ?? UNAVAILABLE
  const value = values[at]
  if (value === undefined || length > BigInt(value.length)) return undefined
  return value.subarray(0, Number(length))
}

function pointedTo(types: readonly number[], values: readonly Buffer[]): Attributes {
  const memory = new BigUint64Array(types.length * WORDS)
  for (const [at, type] of types.entries()) {
    const value = values[at] ?? Buffer.alloc(0)
    memory.set([BigInt(type), koffi.address(value), BigInt(value.length)], at * WORDS)
  }
  return { memory, count: types.length, values }
}

/** Each in memory of its own: a slice of a pool could be moved by nobody, but read by a module that reads too far. */
function bytesOf(value: AttributeValue): Buffer {
  if (typeof value === 'boolean') return Buffer.alloc(1, value ? 1 : 0)
  if (typeof value === 'number') return Buffer.from(BigUint64Array.of(BigInt(value)).buffer)
  return Buffer.concat([Buffer.alloc(0), value])
}
