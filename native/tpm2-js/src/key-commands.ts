import { bytesArgument } from './argument.ts'
import type { TpmCommands } from './commands.ts'
import { ESYS_TR } from './esys-prototypes.ts'
import { sized, toStruct, unsized } from './marshal.ts'
import { structureOutput } from './output.ts'
import type { Scope } from './scope.ts'

/** TPM_ALG_NULL: the hash or scheme of the key itself. */
const TPM_ALG_NULL = 0x0010
/** TPMT_SIG_SCHEME with TPM_ALG_NULL. */
export const SCHEME_OF_KEY = Uint8Array.of(0x00, 0x10)

/** TPM_PT_INPUT_BUFFER that the PC Client profile guarantees. */
const HMAC_DATA_BYTES_MAX = 1024
/** The smallest (SHA-1) and largest (SHA-512) digests of the TPM library specification. */
const DIGEST_BYTES_MIN = 20
const DIGEST_BYTES_MAX = 64
/** TPM2B_ID_OBJECT: TPM2B HMAC and TPM2B credential of the largest hash (Part 2, 12.4.3). */
const ID_OBJECT_BYTES_MAX = 132
/** TPM2B_ENCRYPTED_SECRET: one RSA-4096 block or one ECC point (Part 2, 11.4.33). */
const ENCRYPTED_SECRET_BYTES_MAX = 512
/** TPM2B_NAME: nameAlg and digest (Part 2, 10.5.3). */
const NAME_BYTES_MAX = 66

/** TPMT_TK_HASHCHECK that says "not hashed by this TPM": TPM_ST_HASHCHECK, TPM_RH_NULL, no digest. */
const NULL_TICKET = Uint8Array.of(0x80, 0x24, 0x40, 0x00, 0x00, 0x07, 0x00, 0x00)

type KeyCommands = Pick<TpmCommands, 'hmac' | 'sign' | 'activateCredential' | 'makeCredential'>

export function keyCommands(scope: Scope): KeyCommands {
  const hmac: KeyCommands['hmac'] = async (key, data, session) => {
    bytesArgument('data', data, 0, HMAC_DATA_BYTES_MAX)
    const inputs = [
      ...[scope.trOf(key), scope.authorization(session), ESYS_TR.NONE, ESYS_TR.NONE],
      toStruct('TPM2B_MAX_BUFFER', sized(data), 'data'),
      TPM_ALG_NULL,
    ]
    const outHmac = structureOutput('TPM2B_DIGEST')
    await scope.call('Esys_HMAC', inputs, [outHmac])
    return unsized(outHmac.value())
  }

  const sign: KeyCommands['sign'] = async (key, digest, session) => {
    bytesArgument('digest', digest, DIGEST_BYTES_MIN, DIGEST_BYTES_MAX)
    const inputs = [
      ...[scope.trOf(key), scope.authorization(session), ESYS_TR.NONE, ESYS_TR.NONE],
      toStruct('TPM2B_DIGEST', sized(digest), 'digest'),
      toStruct('TPMT_SIG_SCHEME', SCHEME_OF_KEY, 'inScheme'),
      toStruct('TPMT_TK_HASHCHECK', NULL_TICKET, 'validation'),
    ]
    const signature = structureOutput('TPMT_SIGNATURE')
    await scope.call('Esys_Sign', inputs, [signature])
    return signature.value()
  }

  const activateCredential: KeyCommands['activateCredential'] = async (
    key,
    keyToActivateWith,
    credentialBlob,
    encryptedSecret,
    keyToActivateWithSession,
  ) => {
    bytesArgument('credentialBlob', credentialBlob, 1, ID_OBJECT_BYTES_MAX)
    bytesArgument('encryptedSecret', encryptedSecret, 1, ENCRYPTED_SECRET_BYTES_MAX)
    const inputs = [
      ...[scope.trOf(key), scope.trOf(keyToActivateWith)],
      ...[ESYS_TR.PASSWORD, scope.trOf(keyToActivateWithSession), ESYS_TR.NONE],
      toStruct('TPM2B_ID_OBJECT', sized(credentialBlob), 'credentialBlob'),
      toStruct('TPM2B_ENCRYPTED_SECRET', sized(encryptedSecret), 'encryptedSecret'),
    ]
    const certInfo = structureOutput('TPM2B_DIGEST')
    await scope.call('Esys_ActivateCredential', inputs, [certInfo])
    return unsized(certInfo.value())
  }

  const makeCredential: KeyCommands['makeCredential'] = async (key, credential, objectName) => {
    bytesArgument('credential', credential, 1, DIGEST_BYTES_MAX)
    bytesArgument('objectName', objectName, 1, NAME_BYTES_MAX)
    const inputs = [
      ...[scope.trOf(key), ESYS_TR.NONE, ESYS_TR.NONE, ESYS_TR.NONE],
      toStruct('TPM2B_DIGEST', sized(credential), 'credential'),
      toStruct('TPM2B_NAME', sized(objectName), 'objectName'),
    ]
    const blob = structureOutput('TPM2B_ID_OBJECT')
    const secret = structureOutput('TPM2B_ENCRYPTED_SECRET')
    await scope.call('Esys_MakeCredential', inputs, [blob, secret])
    return { credentialBlob: unsized(blob.value()), encryptedSecret: unsized(secret.value()) }
  }

  return { hmac, sign, activateCredential, makeCredential }
}
