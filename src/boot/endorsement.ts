import { type TpmCommands, TpmError } from 'tpm2-js'
import { MetabindError } from '../errors.ts'
import { certificatesOfNv } from '../format/nv-certificate.ts'
import { parsePublic } from '../format/tpm-public.ts'
import { EK_TEMPLATES, type EkTemplate } from '../format/tpm-templates.ts'

/** Which endorsement key this TPM has, and what its NV memory says of it. */
export interface Endorsement {
  readonly kind: EkTemplate['kind']
  /** What the EK is made from: the default template, as NV may alter it. */
  readonly template: Buffer
  /** DER, leaf first, then whatever issuers NV holds. Empty where the TPM has no EK certificate. */
  readonly certificates: readonly Buffer[]
}

// EK credential profile 2.5, 2.2.1.5: issuers' certificates stand here, one after the other.
const CHAIN_FIRST = 0x01c00100
const CHAIN_LAST = 0x01c001ff
const CHAIN_BYTES_MAX = 65_536
const RC_NO_HANDLE = 0x18b

/**
 * Finds the EK that has a certificate, in the order of EK_TEMPLATES; without any, the first kind.
 * The template index of NV replaces the default template, and the nonce index the beginning of its
 * `unique` (EK credential profile 2.5, 2.2.1.4). That the EK made so is the certificate's key is
 * not assumed: the self-test compares them.
 *
 * @throws MetabindError TPM_NV, VERIFY_CERTIFICATE
 */
export async function findEndorsement(commands: TpmCommands): Promise<Endorsement> {
  for (const kind of EK_TEMPLATES) {
    const certificate = await readIfThere(commands, kind.certificateIndex)
    if (certificate === undefined) continue
    const template = await templateFor(commands, kind)
    const issuers = certificatesOfNv(await readChain(commands))
    return {
      kind: kind.kind,
      template,
      certificates: [...certificatesOfNv(certificate), ...issuers],
    }
  }
  const [first] = EK_TEMPLATES
  if (first === undefined) throw new MetabindError('INTERNAL', 'no EK template')
  return { kind: first.kind, template: await templateFor(commands, first), certificates: [] }
}

async function templateFor(commands: TpmCommands, kind: EkTemplate): Promise<Buffer> {
  const stored = await readIfThere(commands, kind.templateIndex)
  if (stored !== undefined) return requireTemplate(stored)
  const nonce = kind.nonce === undefined ? undefined : await readIfThere(commands, kind.nonce.index)
  return nonce === undefined || kind.nonce === undefined
    ? kind.publicArea
    : withNonce(kind.publicArea, kind.nonce, nonce)
}

/** The self-test judges what kind of key it makes; here it only has to be a template at all. */
function requireTemplate(stored: Buffer): Buffer {
  try {
    parsePublic(stored)
    return stored
  } catch (error) {
    throw new MetabindError('TPM_NV', 'the EK template is none.', error)
  }
}

/** Some manufacturing tools put a template where the nonce belongs; it is too long to be one. */
function withNonce(
  publicArea: Buffer,
  place: { readonly offset: number; readonly bytesMax: number },
  nonce: Buffer,
): Buffer {
  if (nonce.length > place.bytesMax) {
    throw new MetabindError('TPM_NV', `the EK nonce has ${nonce.length} bytes.`)
  }
  const template = Buffer.from(publicArea)
  nonce.copy(template, place.offset)
  return template
}

async function readChain(commands: TpmCommands): Promise<Buffer> {
  const parts: Buffer[] = []
  for (let index = CHAIN_FIRST, bytes = 0; index <= CHAIN_LAST; index += 1) {
    const part = await readIfThere(commands, index)
    if (part === undefined) break
    bytes += part.length
    if (bytes > CHAIN_BYTES_MAX) throw new MetabindError('TPM_NV', 'the EK chain is too long.')
    parts.push(part)
  }
  return Buffer.concat(parts)
}

async function readIfThere(commands: TpmCommands, index: number): Promise<Buffer | undefined> {
  try {
    return Buffer.from(await commands.nvRead(index))
  } catch (error) {
    if (error instanceof TpmError && error.rc === RC_NO_HANDLE) return undefined
    throw error
  }
}
