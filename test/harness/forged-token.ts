import { readFile } from 'node:fs/promises'
import { bootTimeMs } from 'metabind-linux'
import { Secret } from '../../src/secret.ts'
import { tokenAuthority } from '../../src/token/authority.ts'
import { keysOnTpm } from './keys.ts'

/** A token that was made without the agent, and what the TPM said for it. */
export interface ForgedToken {
  readonly token: string
  /** The answers of TPM2_HMAC. */
  readonly roots: readonly Buffer[]
}

/** Makes a token as the agent does, by who can use its TPM and takes `salt` for its salt. */
export async function forgeToken(
  tcti: string,
  instanceId: string,
  salt: Buffer,
  uid: number,
): Promise<ForgedToken> {
  const roots: Buffer[] = []
  await using tpm = await keysOnTpm(tcti, instanceId)
  const keys = tpm.keys({
    bootId: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
    salt: new Secret(salt),
    derive: async (messages) => {
      const values = await tpm.roots(messages)
      // They are wiped once they are used.
      roots.push(
        ...values.flatMap((one) => [one.fromRoot, one.fromBoot].map((root) => Buffer.from(root))),
      )
      return values
    },
  })
  await keys.refresh()
  const caller = { pid: 1, uid, gid: uid, groups: [], namespaces: [] }
  const made = tokenAuthority(keys, bootTimeMs, () => ['uid']).issue(600, caller)
  return { token: made.reveal(), roots }
}
