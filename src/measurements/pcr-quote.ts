import { createHash } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { HASHES, hashBytes, SHA1, type TpmHash, tpmHash } from '../format/algorithms.ts'
import type { Evidence } from '../format/evidence.ts'
import type { TpmPcrSelection } from '../format/tpm-pcr-selection.ts'

/** PCR values by bank and number. */
export type PcrValues = ReadonlyMap<TpmHash['name'], ReadonlyMap<number, Buffer>>

/** The values that the evidence shows. They mean nothing until requirePcrDigest held. */
export function pcrValuesOf(pcrs: Evidence['pcrs']): PcrValues {
  const banks = new Map<TpmHash['name'], ReadonlyMap<number, Buffer>>()
  for (const name of HASHES) {
    const bank = pcrs[name]
    if (bank === undefined) continue
    const values = Object.entries(bank).map(([pcr, value]) => [Number(pcr), value] as const)
    banks.set(name, new Map(values))
  }
  return banks
}

/**
 * The quote selects exactly the PCRs that are shown, both ways, at least one, in banks that are
 * allowed: CVE-2022-0317 and CVE-2024-29039 are a quote over fewer, or over others, than was shown.
 *
 * @param banks those that may be quoted; one bank of SHA-256 or better if undefined
 * @throws MetabindError VERIFY_PCR_SELECTION
 */
export function requireSelection(
  selection: readonly TpmPcrSelection[],
  shown: PcrValues,
  banks: ReadonlySet<string> | undefined,
): void {
  const names = selection.map(({ hash }) => hash)
  if (new Set(names).size !== names.length) refuse('a bank is selected twice')
  if (banks === undefined && names.length !== 1) refuse(`${names.length} banks`)
  const weak = names.find((name) => (banks === undefined ? name === SHA1 : !banks.has(name)))
  if (weak !== undefined) refuse(`bank ${weak}`)
  if (selection.some(({ pcrs }) => pcrs.length === 0)) refuse('no PCR in a bank')
  if (textOf(selection) !== textOf(shownSelection(shown))) refuse('other PCRs than are shown')
}

function shownSelection(shown: PcrValues): TpmPcrSelection[] {
  const banks = [...shown].map(([hash, values]) => ({ hash, pcrs: [...values.keys()] }))
  return banks.map(({ hash, pcrs }) => ({ hash, pcrs: pcrs.sort((a, b) => a - b) }))
}

/** A selection as a set: banks in the order of their names. */
function textOf(selection: readonly TpmPcrSelection[]): string {
  return selection
    .map(({ hash, pcrs }) => `${hash}:${pcrs.join(',')}`)
    .sort()
    .join('+')
}

/**
 * pcrDigest is the hash, by the signing scheme and not by the bank, of the values in the order of
 * the selection, ascending within a bank (Part 3, 18.4).
 *
 * @throws MetabindError VERIFY_PCR_DIGEST
 */
export function requirePcrDigest(
  quote: { readonly selection: readonly TpmPcrSelection[]; readonly pcrDigest: Buffer },
  shown: PcrValues,
  signatureHash: number,
): void {
  const hash = tpmHash(signatureHash)
  if (hash === undefined) throw new MetabindError('VERIFY_PCR_DIGEST')
  const digest = createHash(hash.name)
  for (const { hash, pcrs } of quote.selection) {
    const size = hashBytes(hash)
    for (const pcr of pcrs) {
      const value = shown.get(hash)?.get(pcr)
      if (value?.length !== size) {
        throw new MetabindError('VERIFY_PCR_DIGEST', `${hash} PCR ${pcr} has another length.`)
      }
      digest.update(value)
    }
  }
  if (!digest.digest().equals(quote.pcrDigest)) throw new MetabindError('VERIFY_PCR_DIGEST')
}

function refuse(why: string): never {
  throw new MetabindError('VERIFY_PCR_SELECTION', `Found: ${why}.`)
}
