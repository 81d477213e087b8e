const MAGIC = 0x4b4c4356
const DISRUPTION_MARKER = 16
const FLAGS = 24
const HAS_GENERATION = 1n << 8n
const GENERATION = 104
const BYTES_MIN = 32

/**
 * What a page of the kernel's vmclock device says about being the same machine as before (Linux
 * uapi, vmclock-abi.h): the VM generation counter, which a restore from a snapshot changes, if
 * the hypervisor has one; else the disruption marker, which a live migration changes as well.
 *
 * @returns a text to compare, undefined if the bytes are no such page
 */
export function vmGenerationOf(page: Buffer): string | undefined {
  if (page.length < BYTES_MIN || page.readUInt32LE(0) !== MAGIC) return undefined
  const hasGeneration = (page.readBigUInt64LE(FLAGS) & HAS_GENERATION) !== 0n
  if (hasGeneration && page.length >= GENERATION + 8) {
    return `generation ${page.readBigUInt64LE(GENERATION)}`
  }
  return `disruption ${page.readBigUInt64LE(DISRUPTION_MARKER)}`
}
