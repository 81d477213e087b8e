import type { Attestation, PcrBank, PcrSelection, TpmCommands, TpmObject } from 'tpm2-js'
import { MetabindError } from '../errors.ts'
import type { DialectName } from '../format/dialect-name.ts'
import type { CertifiedKey, Evidence } from '../format/evidence.ts'
import {
  certifyQualifyingData,
  type Qualifier,
  quoteQualifyingData,
} from '../format/evidence-nonce.ts'
import { PRIMARIES } from '../format/tpm-templates.ts'
import type { LoggedEvidence } from './log-files.ts'
import { allocatedOf } from './pcr-allocation.ts'
import { type InstanceKeys, type InstanceTpm, type PublicKey, recreate, recreateAk } from './tpm.ts'

/** What evidence is made of besides the TPM's own part. */
export interface EvidenceRequest {
  readonly qualifier: Qualifier
  readonly dialect: DialectName
  readonly instanceId: string
  readonly pcrs: PcrSelection
  /** DER, leaf first: for clouds that certify attestation keys. */
  readonly akCertificates: readonly Buffer[]
  /** Called with the evidence that has none yet, after the quote. */
  readonly logs: (quoted: Evidence) => Promise<LoggedEvidence>
  /** The cloud's PKCS7 for identityDocumentAudience(qualifier). */
  readonly identityDocument: Buffer | undefined
}

// Something may extend a PCR at any moment; three times in a row within milliseconds is no accident.
const QUOTE_TRIES = 3

/**
 * Gathers evidence: a quote, and the AK's certification of RK, BK and SK, all made for one nonce and what is bound.
 *
 * @throws MetabindError TPM_PCRS_MOVE, TPM_OTHER, TPM_FAULT
 */
export async function gatherEvidence(
  tpm: InstanceTpm,
  keys: InstanceKeys,
  request: EvidenceRequest,
): Promise<Evidence> {
  const { qualifier } = request
  const { nonce, bind } = qualifier
  const made = await tpm.run(async (commands) => {
    const ak = await recreateAk(commands, keys)
    const pcrs = await allocatedOf(commands, request.pcrs)
    const quote = await consistentQuote(commands, ak, qualifier, pcrs)
    const certify = (label: CertifiedKey) => certifyKey(commands, ak, keys, label, qualifier)
    const certifications = {
      RK: await certify('RK'),
      BK: await certify('BK'),
      SK: await certify('SK'),
    }
    return { ...quote, certifications }
  })
  const evidence: Evidence = {
    format: 'metabind evidence',
    version: 2,
    nonce: Buffer.from(nonce),
    ...(bind === undefined ? {} : { bind: Buffer.from(bind) }),
    dialect: request.dialect,
    instanceId: request.instanceId,
    ek: {
      kind: keys.endorsement.kind,
      public: keys.ek.publicArea,
      certificates: keys.endorsement.certificates,
    },
    ak: {
      public: keys.ak.publicArea,
      ...(request.akCertificates.length === 0 ? {} : { certificates: request.akCertificates }),
    },
    quote: bytesOf(made.quote),
    pcrs: pcrsOf(made.banks),
    certifications: made.certifications,
    ...(request.identityDocument === undefined
      ? {}
      : { identityDocument: { pkcs7: request.identityDocument } }),
  }
  return { ...evidence, ...(await request.logs(evidence)) }
}

/** A quote and the PCR values that it is over: none changed between reading before and after it. */
async function consistentQuote(
  commands: TpmCommands,
  ak: TpmObject,
  qualifier: Qualifier,
  selection: PcrSelection,
): Promise<{ readonly quote: Attestation; readonly banks: readonly PcrBank[] }> {
  for (let left = QUOTE_TRIES; left > 0; left -= 1) {
    const before = await commands.pcrRead([selection])
    const quote = await commands.quote(ak, quoteQualifyingData(qualifier), [selection])
    const after = await commands.pcrRead([selection])
    // Some PCRs do not move the counter (16 and 21 to 23 on libtpms): the values count as well.
    const isSame = before.updateCounter === after.updateCounter
    if (isSame && textOf(before.banks) === textOf(after.banks)) return { quote, banks: after.banks }
  }
  throw new MetabindError('TPM_PCRS_MOVE')
}

async function certifyKey(
  commands: TpmCommands,
  ak: TpmObject,
  keys: InstanceKeys,
  label: CertifiedKey,
  qualifier: Qualifier,
): Promise<Evidence['certifications'][CertifiedKey]> {
  const key = certifiedKey(keys, label)
  const object = await recreate(commands, PRIMARIES[label], key)
  const made = await commands.certify(object, ak, certifyQualifyingData(label, qualifier))
  await commands.flushContext(object)
  return { public: key.publicArea, ...bytesOf(made), hierarchy: PRIMARIES[label].hierarchy }
}

function certifiedKey(keys: InstanceKeys, label: CertifiedKey): PublicKey {
  return { RK: keys.rk, BK: keys.bk, SK: keys.sk }[label]
}

function bytesOf({ attest, signature }: Attestation): { attest: Buffer; signature: Buffer } {
  return { attest: Buffer.from(attest), signature: Buffer.from(signature) }
}

function pcrsOf(banks: readonly PcrBank[]): Evidence['pcrs'] {
  return Object.fromEntries(
    banks.map(({ hash, values }) => [
      hash,
      Object.fromEntries([...values].map(([pcr, value]) => [String(pcr), Buffer.from(value)])),
    ]),
  )
}

function textOf(banks: readonly PcrBank[]): string {
  return banks
    .flatMap(({ hash, values }) => [...values].map(([pcr, value]) => `${hash}${pcr}${hex(value)}`))
    .join()
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
