import { type TpmCommands, TpmError } from 'tpm2-js'
import { MetabindError } from '../errors.ts'
import { parsePublic } from '../format/tpm-public.ts'
import { EK_TEMPLATES, type EkTemplate } from '../format/tpm-templates.ts'
import { certificatesOfNv } from './nv-certificate.ts'

/** Which endorsement key this TPM has, and what its NV memory says of it. */
export interface Endorsement {
  readonly kind: EkTemplate['kind']
  /** What the EK is made from: the default template, as NV may alter it. */
  readonly template: Buffer
  /** DER, leaf first, then whatever issuers NV holds. Empty if the TPM has no EK certificate. */
  readonly certificates: readonly Buffer[]
  /** Of each NV index that is there and could not be read, which it is and why. */
  readonly unreadable: readonly string[]
}

/** Whether the EK's certificate is demanded, reported or not even read. */
export type Demand = 'require' | 'prefer' | 'ignore'

// EK credential profile 2.5, 2.2.1.5: issuers' certificates stand here, one after the other.
const CHAIN_FIRST = 0x01c00100
const CHAIN_LAST = 0x01c001ff
const CHAIN_BYTES_MAX = 65_536
const RC_NO_HANDLE = 0x18b
// The index is there and its own authorization, an empty password, does not open it (Part 3, 31.13).
const UNREADABLE: ReadonlySet<string | undefined> = new Set([
  'TPM_RC_NV_UNINITIALIZED',
  'TPM_RC_NV_AUTHORIZATION',
  'TPM_RC_NV_LOCKED',
  'TPM_RC_AUTH_UNAVAILABLE',
  'TPM_RC_AUTH_TYPE',
  'TPM_RC_AUTH_FAIL',
  'TPM_RC_BAD_AUTH',
  'TPM_RC_POLICY_FAIL',
])

/**
 * Finds the EK that has a certificate, in the order of EK_TEMPLATES; without any, the first kind.
 * What is in NV and cannot be read is taken for absent and reported; the self-test refuses it if a
 * certificate is required. If certificates are ignored, nothing is read.
 *
 * The template index of NV replaces the default template, and the nonce index the beginning of its
 * `unique` (EK credential profile 2.5, 2.2.1.4). That the EK made so is the certificate's key is
 * not assumed: the self-test compares them.
 *
 * @throws MetabindError TPM_NV, VERIFY_CERTIFICATE
 */
export async function findEndorsement(commands: TpmCommands, demand: Demand): Promise<Endorsement> {
  const [first] = EK_TEMPLATES
  if (first === undefined) throw new MetabindError('INTERNAL', 'no EK template')
  const unreadable: string[] = []
  const read = nvReader(commands, (index, why) =>
    unreadable.push(`NV index 0x${index.toString(16).padStart(8, '0')}: ${why}`),
  )
  if (demand === 'ignore') {
    return { kind: first.kind, template: first.publicArea, certificates: [], unreadable }
  }
  for (const kind of EK_TEMPLATES) {
    const certificate = await read(kind.certificateIndex)
    if (certificate === undefined) continue
    const template = await templateFor(read, kind)
    const issuers = certificatesOfNv(await readChain(read))
    const certificates = [...certificatesOfNv(certificate), ...issuers]
    return { kind: kind.kind, template, certificates, unreadable }
  }
  const template = await templateFor(read, first)
  return { kind: first.kind, template, certificates: [], unreadable }
}

async function templateFor(read: NvReader, kind: EkTemplate): Promise<Buffer> {
  const stored = await read(kind.templateIndex)
  if (stored !== undefined) return requireTemplate(stored)
  const nonce = kind.nonce === undefined ? undefined : await read(kind.nonce.index)
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

async function readChain(read: NvReader): Promise<Buffer> {
  const parts: Buffer[] = []
  for (let index = CHAIN_FIRST, bytes = 0; index <= CHAIN_LAST; index += 1) {
    const part = await read(index)
    if (part === undefined) break
    bytes += part.length
    if (bytes > CHAIN_BYTES_MAX) throw new MetabindError('TPM_NV', 'the EK chain is too long.')
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** Reads an NV index; undefined if there is none, or none that can be read. */
type NvReader = (index: number) => Promise<Buffer | undefined>

function nvReader(
  commands: TpmCommands,
  onUnreadable: (index: number, why: string) => void,
): NvReader {
  return async (index) => {
    try {
      return Buffer.from(await commands.nvRead(index))
    } catch (error) {
      if (!(error instanceof TpmError)) throw error
      const isUnreadable = UNREADABLE.has(error.rcName)
      if (!isUnreadable && error.rc !== RC_NO_HANDLE) throw error
      if (isUnreadable) onUnreadable(index, error.message)
      return undefined
    }
  }
}
