import { ATTESTATION_VECTORS } from './attestation-vectors.ts'
import { CHAIN_VECTORS } from './chain-vectors.ts'
import { KEY_VECTORS } from './key-vectors.ts'
import { STATE_VECTORS } from './state-vectors.ts'
import type { Vector } from './vector.ts'

/** Evidence that no verifier may accept, and what each is refused with. */
export const VECTORS: readonly Vector[] = [
  ...KEY_VECTORS,
  ...CHAIN_VECTORS,
  ...ATTESTATION_VECTORS,
  ...STATE_VECTORS,
]
