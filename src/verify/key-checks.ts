import { PATH_CODES } from '../certificates/chain.ts'
import { commonName } from '../certificates/key-certificate.ts'
import { MetabindError } from '../errors.ts'
import { EK_TEMPLATES, PRIMARIES } from '../format/tpm-templates.ts'
import { type Check, refuseUnless } from './check.ts'
import { findAnchor, isAkCertified } from './endorsement.ts'
import { isMadeFrom, requireTemplate } from './key-template.ts'
import type { Subject } from './subject.ts'
import { requireVouchedAk } from './vouched-ak.ts'

/** What looks like an instance id of Alibaba Cloud. */
const INSTANCE_ID = /^i-[a-z0-9]{8,}$/

/** Which TPM, and which attestation key. */
export const KEY_CHECKS: readonly Check[] = [
  { name: 'EK public area', codes: ['VERIFY_EK_PUBLIC'], run: checkEkPublic },
  {
    name: 'endorsement',
    codes: [
      'VERIFY_UNANCHORED',
      'VERIFY_CERTIFICATE_KEY',
      'VERIFY_CERTIFICATE_PROFILE',
      ...PATH_CODES,
    ],
    run: (subject) => void findAnchor(subject),
  },
  { name: 'EK certificate: instance', codes: ['VERIFY_EK_INSTANCE'], run: checkCommonName },
  {
    name: 'AK public area',
    codes: ['VERIFY_AK_PUBLIC'],
    run: checkAkPublic,
  },
  { name: 'activation', codes: ['VERIFY_ACTIVATION'], run: checkActivation },
]

function checkEkPublic({ evidence, ek }: Subject): void {
  const template = EK_TEMPLATES.find(({ kind }) => kind === evidence.ek.kind)
  if (template === undefined) throw new MetabindError('VERIFY_EK_PUBLIC')
  requireTemplate(ek.public, template.publicArea, 'VERIFY_EK_PUBLIC')
}

/** An AK of another kind than the agent's is accepted if a certificate for such keys is of this very one. */
function checkAkPublic(subject: Subject): void {
  const key = subject.ak.public
  if (isMadeFrom(key, PRIMARIES.AK.template)) return
  if (isAkCertified(subject)) requireVouchedAk(key)
  else requireTemplate(key, PRIMARIES.AK.template, 'VERIFY_AK_PUBLIC')
}

/**
 * Alibaba Cloud writes the instance id into the subject of EK certificates. `prefer` refuses another
 * instance id and lets other subjects be; `require` wants this one.
 */
function checkCommonName(subject: Subject): void {
  const { ekInstance } = subject.demands
  if (ekInstance === 'ignore') return
  const anchor = findAnchor(subject)
  const leaf = anchor.kind === 'ek-certificate' ? anchor.path[0] : undefined
  const name = leaf === undefined ? undefined : commonName(leaf)
  if (name === subject.evidence.instanceId) return
  const isOther = ekInstance === 'require' || (name !== undefined && INSTANCE_ID.test(name))
  refuseUnless(!isOther, 'VERIFY_EK_INSTANCE')
}

/** An activation of another AK, or in another TPM, is none (CVE-2023-38201: the steps are one chain). */
function checkActivation({ ek, ak, demands }: Subject): void {
  const { activation, demandActivation } = demands
  if (activation === undefined && !demandActivation) return
  const isThis = activation?.ekName.equals(ek.name) === true && activation.akName.equals(ak.name)
  refuseUnless(isThis, 'VERIFY_ACTIVATION')
}
