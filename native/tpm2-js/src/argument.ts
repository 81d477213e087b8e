import { TpmError } from './tpm-error.ts'

/** Checks of callers' values before the TPM is asked. Each throws TPM_ARGUMENT naming the argument. */

export function bytesArgument(name: string, value: Uint8Array, min: number, max: number): void {
  if (value instanceof Uint8Array && value.length >= min && value.length <= max) return
  throw new TpmError('TPM_ARGUMENT', `${name}: expected ${min} to ${max} bytes`)
}

export function integerArgument(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw new TpmError('TPM_ARGUMENT', `${name}: expected an integer from ${min} to ${max}`)
}

/** Looks up one of a few words. The table has no prototype keys to find by accident. */
export function wordArgument<K extends string, V>(
  name: string,
  table: Readonly<Record<K, V>>,
  word: K,
): V {
  if (Object.hasOwn(table, word)) return table[word]
  throw new TpmError('TPM_ARGUMENT', `${name}: expected one of ${Object.keys(table).join(', ')}`)
}
