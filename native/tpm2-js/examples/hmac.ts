/**
 * A value that this TPM can compute again after any reboot and no other TPM can compute.
 *
 *   node examples/hmac.ts device:/dev/tpmrm0 "some label"
 */
import { openTpm } from '../src/tpm.ts'

const [tcti = 'device:/dev/tpmrm0', label = 'example'] = process.argv.slice(2)

/** TPMT_PUBLIC of an HMAC-SHA-256 key: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, sign. */
const HMAC_KEY = Buffer.from('0008000b0004047200000005000b0000', 'hex')
/** TPMT_PUBLIC of a P-256 storage key, to which the session's secret is encrypted. */
const STORAGE_KEY = Buffer.from('0023000b00030472000000060080004300100003001000000000', 'hex')

const tpm = await openTpm({ tcti })
try {
  const value = await tpm.sequence(async (commands) => {
    const tpmKey = await commands.createPrimary('owner', STORAGE_KEY)
    const key = await commands.createPrimary('endorsement', HMAC_KEY)
    const session = await commands.startAuthSession({ type: 'hmac', tpmKey })
    await commands.setSessionAttributes(session, { continueSession: true, encrypt: true })
    return await commands.hmac(key, Buffer.from(label), session)
  })
  process.stdout.write(`${Buffer.from(value).toString('hex')}\n`)
} finally {
  await tpm.close()
}
