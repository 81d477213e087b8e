import type { ParseArgsOptionsConfig } from 'node:util'
import { UsageError } from '../errors.ts'
import { PCR_MAX } from '../format/tpm-pcr-selection.ts'
import type { VerifyOptions } from '../verify/index.ts'
import { choiceOf } from './options.ts'
import { POLICY_HELP, POLICY_OPTIONS, policyOptions } from './policy-options.ts'
import { qualifierOf } from './qualifier-options.ts'
import { TRUST_HELP, TRUST_OPTIONS, type TrustValues, trustOf } from './verify-trust.ts'

/** The options that say what evidence is checked against. */
export const EVIDENCE_OPTIONS = {
  nonce: { type: 'string' },
  bind: { type: 'string' },
  ...TRUST_OPTIONS,
  'demand-crls': { type: 'boolean' },
  'instance-id': { type: 'string' },
  'ek-instance': { type: 'string' },
  ...POLICY_OPTIONS,
  'demand-replayed': { type: 'string' },
  'demand-document': { type: 'boolean' },
} as const satisfies ParseArgsOptionsConfig

export const EVIDENCE_HELP = `  --nonce HEX          the nonce that you sent: 16 to 64 bytes
  --bind HEX           bytes that must be bound: refuse evidence without them
${TRUST_HELP}  --demand-crls        refuse a certificate, other than an anchor, without a
                       current list of its issuer
  --instance-id ID     the instance that it must be
  --ek-instance require|prefer|ignore
                       must the EK certificate name the instance
${POLICY_HELP}  --demand-replayed PCRS
                       PCRs to whose values logs must lead, such as 0-7,11
  --demand-document    refuse evidence without the cloud's identity document
`

type Values = TrustValues &
  Parameters<typeof policyOptions>[0] & {
    readonly nonce?: string
    readonly bind?: string
    readonly 'demand-crls'?: boolean
    readonly 'instance-id'?: string
    readonly 'ek-instance'?: string
    readonly 'demand-replayed'?: string
    readonly 'demand-document'?: boolean
  }

/** @throws UsageError, MetabindError FILE_UNUSABLE */
export function verifyOptions(values: Values): VerifyOptions {
  const { nonce, bind } = qualifierOf(values, 'the one that you sent')
  return {
    nonce: Buffer.from(nonce, 'hex'),
    bind: bind === undefined ? undefined : Buffer.from(bind, 'hex'),
    now: new Date(),
    trust: trustOf(values),
    expectedInstanceId: values['instance-id'],
    ekInstance: ekInstanceOf(values['ek-instance']),
    demandDocument: values['demand-document'] === true,
    demandReplayed: pcrsOf(values['demand-replayed']),
    demandCrls: values['demand-crls'] === true,
    ...policyOptions(values),
  }
}

/** PCRs and ranges of them. @throws UsageError */
function pcrsOf(list: string | undefined): number[] | undefined {
  return list?.split(',').flatMap((part) => {
    const [, first, last = first] = /^([0-9]{1,2})(?:-([0-9]{1,2}))?$/.exec(part) ?? []
    const [from, to] = [Number(first), Number(last)]
    if (first === undefined || from > to || to > PCR_MAX) {
      throw new UsageError(`--demand-replayed takes PCRs such as 0-7,11: not '${part}'`)
    }
    return Array.from({ length: to - from + 1 }, (_, at) => from + at)
  })
}

function ekInstanceOf(word: string | undefined): VerifyOptions['ekInstance'] {
  if (word === undefined) return undefined
  return choiceOf('--ek-instance', ['require', 'prefer', 'ignore'], word)
}
