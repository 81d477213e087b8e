import { createHash } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { hexOf, tpmHash } from './algorithms.ts'

/** TPM_RH of the hierarchies (TPM 2.0 Part 2, 7.4). */
const HIERARCHY = {
  owner: 0x40000001,
  null: 0x40000007,
  endorsement: 0x4000000b,
  platform: 0x4000000c,
} as const

export type TpmHierarchy = keyof typeof HIERARCHY

/**
 * Name of an object: nameAlg ‖ H_nameAlg(TPMT_PUBLIC) (TPM 2.0 Part 1, 16). A Name is trusted only if it
 * was computed here, from a public area whose attributes were checked.
 */
export function nameOf(publicArea: Uint8Array): Buffer {
  const nameAlg = publicArea.length < 4 ? 0 : (publicArea[2] ?? 0) * 256 + (publicArea[3] ?? 0)
  return algorithmAndDigest(nameAlg, [publicArea])
}

/**
 * Qualified Name of a primary key: nameAlg ‖ H(hierarchy handle ‖ Name) (Part 1, 26.5). It says in
 * which hierarchy the object lives: a key of the null or owner hierarchy has another.
 */
export function qualifiedNameOf(hierarchy: TpmHierarchy, name: Uint8Array): Buffer {
  const handle = Buffer.alloc(4)
  handle.writeUInt32BE(HIERARCHY[hierarchy])
  return algorithmAndDigest((name[0] ?? 0) * 256 + (name[1] ?? 0), [handle, name])
}

function algorithmAndDigest(nameAlg: number, parts: readonly Uint8Array[]): Buffer {
  const hash = tpmHash(nameAlg)
  if (hash === undefined) throw new MetabindError('VERIFY_STRUCTURE', `nameAlg ${hexOf(nameAlg)}.`)
  const digest = createHash(hash.name)
  for (const part of parts) digest.update(part)
  const algorithm = Buffer.alloc(2)
  algorithm.writeUInt16BE(nameAlg)
  return Buffer.concat([algorithm, digest.digest()])
}
