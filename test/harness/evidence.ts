import type { Hierarchy, Tpm, TpmCommands, TpmObject } from 'tpm2-js'
import { CERTIFIED_KEYS, type CertifiedKey, type Evidence } from '../../src/format/evidence.ts'
import { certifyQualifyingData, quoteQualifyingData } from '../../src/format/evidence-nonce.ts'
import {
  AK_TEMPLATE,
  BK_TEMPLATE,
  EK_TEMPLATES,
  type EkTemplate,
  RK_TEMPLATE,
  SK_TEMPLATE,
} from '../../src/format/tpm-templates.ts'
import { certificatesOfNv } from '../../src/identity/nv-certificate.ts'

/** Gathers genuine evidence from a real TPM, and lets tests say what is not genuine in it. */

const KEY_TEMPLATES = { RK: RK_TEMPLATE, BK: BK_TEMPLATE, SK: SK_TEMPLATE } as const
const KEY_HIERARCHIES = { RK: 'endorsement', BK: 'null', SK: 'endorsement' } as const

export interface Gathering {
  readonly nonce: Buffer
  readonly bind?: Buffer
  readonly ekKind?: EkTemplate['kind']
  /** Of the EK; what is in NV when left out. */
  readonly certificates?: readonly Buffer[]
  readonly instanceId?: string
  readonly pcrs?: readonly number[]
  readonly bank?: 'sha1' | 'sha256' | 'sha384'
  readonly pkcs7?: Buffer
  readonly akHierarchy?: Hierarchy
  readonly akTemplate?: Buffer
  readonly keyTemplates?: Partial<Record<CertifiedKey, Buffer>>
  readonly keyHierarchies?: Partial<Record<CertifiedKey, Hierarchy>>
}

export function gatherEvidence(tpm: Tpm, gathering: Gathering): Promise<Evidence> {
  const { nonce, bind, ekKind = 'P-256', bank = 'sha256', pcrs = [0, 1, 2, 7], pkcs7 } = gathering
  return tpm.sequence(async (commands) => {
    const ekTemplate = EK_TEMPLATES.find(({ kind }) => kind === ekKind)
    if (ekTemplate === undefined) throw new Error(ekKind)
    const ek = await commands.createPrimary('endorsement', ekTemplate.publicArea)
    const ekPublic = Buffer.from(ek.publicArea)
    await commands.flushContext(ek)
    const ak = await commands.createPrimary(
      gathering.akHierarchy ?? 'endorsement',
      gathering.akTemplate ?? AK_TEMPLATE,
    )
    const certificates =
      gathering.certificates ?? certificatesOfNv(await commands.nvRead(ekTemplate.certificateIndex))
    const quote = await commands.quote(ak, quoteQualifyingData(gathering), [{ hash: bank, pcrs }])
    const { banks } = await commands.pcrRead([{ hash: bank, pcrs }])
    const values = [...(banks[0]?.values ?? [])].map(([pcr, value]) => [
      String(pcr),
      Buffer.from(value),
    ])
    return {
      format: 'metabind evidence',
      version: 2,
      nonce,
      ...(bind === undefined ? {} : { bind }),
      dialect: 'aliyun',
      instanceId: gathering.instanceId ?? 'i-bp1234567890abcdefgh',
      ek: { kind: ekKind, public: ekPublic, certificates },
      ak: { public: Buffer.from(ak.publicArea) },
      quote: { attest: Buffer.from(quote.attest), signature: Buffer.from(quote.signature) },
      pcrs: { [bank]: Object.fromEntries(values) },
      certifications: await certifications(commands, ak, gathering),
      ...(pkcs7 === undefined ? {} : { identityDocument: { pkcs7 } }),
    }
  })
}

async function certifications(
  commands: TpmCommands,
  ak: TpmObject,
  gathering: Gathering,
): Promise<Evidence['certifications']> {
  const certified: Partial<Evidence['certifications']> = {}
  for (const label of CERTIFIED_KEYS)
    certified[label] = await certifyKey(commands, ak, label, gathering)
  const { RK, BK, SK } = certified
  if (!RK || !BK || !SK) throw new Error('not all keys')
  return { RK, BK, SK }
}

async function certifyKey(
  commands: TpmCommands,
  ak: TpmObject,
  label: CertifiedKey,
  gathering: Gathering,
) {
  const hierarchy = gathering.keyHierarchies?.[label] ?? KEY_HIERARCHIES[label]
  const template = gathering.keyTemplates?.[label] ?? KEY_TEMPLATES[label]
  const key = await commands.createPrimary(hierarchy, template)
  const { attest, signature } = await commands.certify(
    key,
    ak,
    certifyQualifyingData(label, gathering),
  )
  await commands.flushContext(key)
  return {
    public: Buffer.from(key.publicArea),
    attest: Buffer.from(attest),
    signature: Buffer.from(signature),
    hierarchy: KEY_HIERARCHIES[label],
  }
}
