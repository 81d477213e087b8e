import { wordArgument } from './argument.ts'
import type { SessionAttributes, TpmCommands } from './commands.ts'
import { ESYS_TR } from './esys-prototypes.ts'
import { toStruct, unsized } from './marshal.ts'
import { HIERARCHIES } from './object-commands.ts'
import { handleOutput, structureOutput } from './output.ts'
import { pcrSelectionStruct } from './pcr-selection.ts'
import type { Scope } from './scope.ts'

/** TPM_SE (Part 2, 6.11). */
const SESSION_TYPES = { hmac: 0x00, policy: 0x01, trial: 0x03 } as const

/** TPM_ALG_ID (Part 2, 6.3). */
const SESSION_HASHES = { sha256: 0x000b, sha384: 0x000c } as const

/** TPMT_SYM_DEF: AES, 128 bits, CFB. Used for parameter encryption only. */
const AES_128_CFB = Uint8Array.of(0x00, 0x06, 0x00, 0x80, 0x00, 0x43)
/** TPMT_SYM_DEF: TPM_ALG_NULL. An unsalted session has no secret to encrypt with. */
const NO_SYMMETRIC = Uint8Array.of(0x00, 0x10)

/** TPMA_SESSION (Part 2, 8.4). */
const CONTINUE_SESSION = 0x01
const DECRYPT = 0x20
const ENCRYPT = 0x40
const AUDIT = 0x80
const SETTABLE = CONTINUE_SESSION | DECRYPT | ENCRYPT | AUDIT

type SessionCommands = Pick<
  TpmCommands,
  'startAuthSession' | 'setSessionAttributes' | 'policySecret' | 'policyPcr' | 'policyGetDigest'
>

export function sessionCommands(scope: Scope): SessionCommands {
  const startAuthSession: SessionCommands['startAuthSession'] = async (options) => {
    const { type, tpmKey, hash = 'sha256' } = options
    const inputs = [
      tpmKey === undefined ? ESYS_TR.NONE : scope.trOf(tpmKey),
      ESYS_TR.NONE,
      ESYS_TR.NONE,
      ESYS_TR.NONE,
      ESYS_TR.NONE,
      null,
      wordArgument('type', SESSION_TYPES, type),
      toStruct('TPMT_SYM_DEF', tpmKey === undefined ? NO_SYMMETRIC : AES_128_CFB, 'symmetric'),
      wordArgument('hash', SESSION_HASHES, hash),
    ]
    const handle = handleOutput()
    await scope.call('Esys_StartAuthSession', inputs, [handle])
    const session = scope.addSession(handle.value(), type)
    await setSessionAttributes(session, { continueSession: true })
    return session
  }

  const setSessionAttributes: SessionCommands['setSessionAttributes'] = (session, attributes) =>
    scope.call('Esys_TRSess_SetAttributes', [scope.trOf(session), flagsOf(attributes), SETTABLE])

  const policySecret: SessionCommands['policySecret'] = (session, hierarchy) =>
    scope.call(
      'Esys_PolicySecret',
      [
        wordArgument('hierarchy', HIERARCHIES, hierarchy),
        scope.trOf(session),
        ESYS_TR.PASSWORD,
        ...[ESYS_TR.NONE, ESYS_TR.NONE, null, null, null, 0],
      ],
      [null, null],
    )

  const policyPcr: SessionCommands['policyPcr'] = async (session, pcrs) => {
    const selection = pcrSelectionStruct(pcrs)
    const none = ESYS_TR.NONE
    await scope.call('Esys_PolicyPCR', [scope.trOf(session), none, none, none, null, selection])
  }

  const policyGetDigest: SessionCommands['policyGetDigest'] = async (session) => {
    const digest = structureOutput('TPM2B_DIGEST')
    const inputs = [scope.trOf(session), ESYS_TR.NONE, ESYS_TR.NONE, ESYS_TR.NONE]
    await scope.call('Esys_PolicyGetDigest', inputs, [digest])
    return unsized(digest.value())
  }

  return { startAuthSession, setSessionAttributes, policySecret, policyPcr, policyGetDigest }
}

function flagsOf(attributes: SessionAttributes): number {
  const bit = (wanted: boolean | undefined, mask: number) => (wanted === true ? mask : 0)
  return (
    bit(attributes.continueSession, CONTINUE_SESSION) |
    bit(attributes.decrypt, DECRYPT) |
    bit(attributes.encrypt, ENCRYPT) |
    bit(attributes.audit, AUDIT)
  )
}
