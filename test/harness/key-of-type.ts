import type { TpmPublic } from '../../src/format/tpm-public.ts'

type OfType<T extends TpmPublic['type']> = Extract<TpmPublic, { readonly type: T }>

/** A key that a test knows to be of this type. @throws Error if it is not */
export function keyOfType<T extends TpmPublic['type']>(key: TpmPublic, type: T): OfType<T> {
  if (!isOfType(key, type)) throw new Error(key.type)
  return key
}

function isOfType<T extends TpmPublic['type']>(key: TpmPublic, type: T): key is OfType<T> {
  return key.type === type
}
