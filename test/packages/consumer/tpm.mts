/** A program with a TPM: `node tpm.mjs TCTI`. */
import { openTpm, TpmError, type TpmErrorCode } from 'tpm2-js'

const [tcti = ''] = process.argv.slice(2)
const tpm = await openTpm({ tcti })
const random: Uint8Array = await tpm.sequence((commands) => commands.getRandom(16))
await tpm.close()

let refusal: TpmErrorCode | undefined
try {
  await openTpm({ tcti: '' })
} catch (error) {
  if (!(error instanceof TpmError)) throw error
  refusal = error.code
}
process.stdout.write(JSON.stringify({ random: random.length, refusal }))
