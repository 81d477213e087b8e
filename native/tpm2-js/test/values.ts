import type { TpmCommands } from '../src/tpm.ts'
import { AK, hmacKey } from './templates.ts'

/** Values that two processes have from one TPM alike. */
export const VALUES = {
  hmac: async (c: TpmCommands) =>
    c.hmac(await c.createPrimary('owner', hmacKey('a')), new Uint8Array(8)),
  // The digest of the PCRs is at its end. Of another size than what everybody allocates.
  attest: async (c: TpmCommands) => {
    const key = await c.createPrimary('owner', AK)
    return (await c.quote(key, new Uint8Array(), [{ hash: 'sha256', pcrs: [0, 7] }])).attest
  },
}
