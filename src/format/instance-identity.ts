import { createHash } from 'node:crypto'

/** What the TPM and the source together say this instance is. Names are TPM Names (nameAlg ‖ digest). */
export interface InstanceIdentity {
  readonly dialect: string
  readonly instanceId: string
  readonly ekName: Buffer
  readonly akName: Buffer
  readonly rkName: Buffer
}

/**
 * The context that token keys are derived in. Another boot, TPM, instance, cloud or generation is
 * another context; fields are length-prefixed so that no two lists of fields run together.
 *
 * @param bootId /proc/sys/kernel/random/boot_id: covers the TPM resets that leave the null seed alone
 * @param generation see Revocations
 */
export function keyContext(identity: InstanceIdentity, bootId: string, generation: string): Buffer {
  return digest([...fields(identity), Buffer.from(bootId), Buffer.from(generation)])
}

/**
 * The context of the key that kept files are sealed under: as keyContext, without the instance id,
 * which is learned from such a file when the source is down, and without a generation, since
 * revoking tokens makes no metadata wrong.
 */
export function sealContext(
  identity: Omit<InstanceIdentity, 'instanceId'>,
  bootId: string,
): Buffer {
  const { dialect, ekName, akName, rkName } = identity
  return digest([Buffer.from(dialect), ekName, akName, rkName, Buffer.from(bootId)])
}

/** The iid: 16 bytes that name this instance identity in tokens and logs, the same over reboots. */
export function iidOf(identity: InstanceIdentity): Buffer {
  return createHash('sha256')
    .update('metabind iid v1')
    .update(digest(fields(identity)))
    .digest()
    .subarray(0, 16)
}

function fields(identity: InstanceIdentity): Buffer[] {
  return [
    Buffer.from(identity.dialect),
    Buffer.from(identity.instanceId),
    identity.ekName,
    identity.akName,
    identity.rkName,
  ]
}

function digest(parts: readonly Buffer[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(part.length)
    hash.update(length).update(part)
  }
  return hash.digest()
}
